"""tfswa models, tfswa card: which models there are, and all that one of them says of itself."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tfswa_unet.catalogue import Listed

WIDTH = 180  # characters, where there is no terminal: what goes into a file or a pipe keeps its columns whole


class Models:
    """tfswa models: the models that can be named."""

    EXAMPLES = """\
  tfswa models                                          trained ones separate at once, presets are for training
  tfswa models --json
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Print a line a model, and which of them separates where none is named."""
        from dataclasses import asdict

        from tfswa_unet.bundles import DEFAULT_MODEL
        from tfswa_unet.catalogue import listed

        found = listed()
        if args.json:
            print(json.dumps([asdict(each) for each in found], indent=2))
            return 0

        from rich.console import Console

        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console.width = WIDTH
        console.print(_table(found))
        if any(each.default for each in found):
            print(f"`tfswa separate song.mp3` takes {DEFAULT_MODEL}.")
        else:
            print(f"This installation has no default model ({DEFAULT_MODEL}): `tfswa separate` needs --model.")
        return 0


class Card:
    """tfswa card: the model card of a bundle."""

    EXAMPLES = """\
  tfswa card tfswa_open_small                           a model that comes with the package
  tfswa card model.safetensors -o MODEL.md
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        about = "a bundle (.safetensors), a checkpoint (.ckpt) or a name that `tfswa models` lists as trained"
        parser.add_argument("model", help=about)
        parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write it there instead of printing it")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Print or write the card."""
        from tfswa_unet.catalogue import model_card
        from tfswa_unet.errors import ConfigError
        from tfswa_unet.files import write_text

        card = model_card(args.model)
        if args.out is None:
            print(card, end="")
            return 0
        try:
            write_text(args.out, card)
        except OSError as error:
            raise ConfigError(f"{args.out} cannot be written ({error.strerror}): give -o another file") from error
        print(args.out)
        return 0


def _table(found: Sequence[Listed]) -> Table:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("name", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "MB", "validation SDR"):
        table.add_column(heading, justify="right")
    for heading in ("stems", "trained on"):
        table.add_column(heading)
    for each in found:
        score = "–" if each.validation_sdr is None else f"{each.validation_sdr:.2f} dB"
        numbers = (f"{each.parameters:,}", f"{each.megabytes:.1f}", score)
        table.add_row(each.name, each.kind, *numbers, ", ".join(each.stems), _trained_on(each))
    return table


def _trained_on(each: Listed) -> str:
    if each.kind == "preset":
        return "–"
    if each.sources is None:
        return "not recorded"
    licences = f": {', '.join(each.licences)}" if each.licences else ""
    return f"{each.sources} {'source' if each.sources == 1 else 'sources'}{licences}"
