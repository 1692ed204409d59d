"""tfswa models, card, pull, push: which models there are, what each says of itself, and the way here and away."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli import MODEL_KINDS, add_offline, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tfswa_unet.catalogue import Listed

WIDTH = 180  # characters, where there is no terminal: what goes into a file or a pipe keeps its columns whole
NONE = "–"


class Models:
    """tfswa models: the models that can be named."""

    EXAMPLES = """\
  tfswa models                                          trained and cached ones separate at once, presets can be trained
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
        print("M: million weights. valid, test: SDR in dB, average of the stems. `tfswa card NAME` tells")
        print("more, such as what a model was trained on and under which licences.")
        if any(each.default for each in found):
            print(f"`tfswa separate song.mp3` takes {DEFAULT_MODEL}.")
        else:
            print(f"This installation has no default model ({DEFAULT_MODEL}): `tfswa separate` needs --model.")
        return 0


class Card:
    """tfswa card: the model card of a bundle, or of an exported file."""

    EXAMPLES = """\
  tfswa card tfswa_open_small                           a model that comes with the package
  tfswa card model.safetensors -o MODEL.md
  tfswa card exported/model.onnx
  tfswa card hf://OWNER/NAME --offline                  from the cache
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", help=f"{MODEL_KINDS}, or a file of `tfswa export`")
        parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write it there instead of printing it")
        add_offline(parser)

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Print or write the card."""
        from tfswa_unet.bundle import find_model
        from tfswa_unet.catalogue import exported_card, model_card
        from tfswa_unet.files import write_text
        from tfswa_unet.inference.exported import READERS, load_exported

        path = find_model(args.model)
        exported = path.suffix in READERS
        card = exported_card(path, load_exported(path).facts) if exported else model_card(args.model)
        if args.out is None:
            print(card, end="")
            return 0
        with writing(args.out):
            write_text(args.out, card)
        print(args.out)
        return 0


class Pull:
    """tfswa pull: a model from elsewhere into the cache."""

    EXAMPLES = """\
  tfswa pull hf://OWNER/NAME                            from the Hugging Face Hub; hf://OWNER/NAME@REVISION
  tfswa pull "https://HOST/model.safetensors#sha256=HASH"
  tfswa pull hf://OWNER/NAME -o model.safetensors       and a copy to keep
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", metavar="NAME", help="hf://OWNER/NAME[@REVISION] or https://…#sha256=…")
        parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="copy it there too")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Fetch, check that it is a model, and say where it lies."""
        from tfswa_unet.bundle import load_model
        from tfswa_unet.bundles import REMOTE
        from tfswa_unet.bundles.remote import fetch
        from tfswa_unet.errors import ConfigError
        from tfswa_unet.files import content_hash, replacing
        from tfswa_unet.inference.exported import READERS, load_exported

        if not REMOTE.match(args.model):
            raise ConfigError(f"{args.model}: expected hf://OWNER/NAME or https://HOST/FILE#sha256=…")
        path = fetch(args.model)
        model = load_exported(path) if path.suffix in READERS else load_model(path)
        print(f"{path}: {', '.join(model.stems)} at {model.rate} Hz, {path.stat().st_size / 1e6:.1f} MB")
        print(f"sha256={content_hash(path)}")
        if args.out:
            with writing(args.out), replacing(args.out) as temporary:
                shutil.copyfile(path, temporary)
            print(args.out)
        return 0


class Push:
    """tfswa push: a bundle to the Hugging Face Hub, with its card."""

    EXAMPLES = """\
  tfswa push model.safetensors hf://OWNER/NAME          as model.safetensors, with a card from its own facts
  tfswa push model.safetensors hf://OWNER/NAME --private
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", type=Path, metavar="FILE", help="a bundle (.safetensors)")
        told = "hf://OWNER/NAME, which is made where it is missing; log in by `hf auth login`, or set HF_TOKEN"
        parser.add_argument("name", metavar="NAME", help=told)
        parser.add_argument("--private", action="store_true", help="a new repository is seen by its owner only")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Upload the bundle and its card, and print the commit's address."""
        from tfswa_unet.bundles import hub
        from tfswa_unet.catalogue import hub_card
        from tfswa_unet.errors import ConfigError

        scheme, _, name = args.name.partition("://")
        if scheme != "hf":
            raise ConfigError(f"{args.name}: expected hf://OWNER/NAME")
        repository, _ = hub.parse(name)
        if args.model.suffix != ".safetensors" or not args.model.is_file():
            raise ConfigError(f"{args.model} is no bundle: make one of a checkpoint by `tfswa bundle CKPT`")
        print(hub.push(args.model, name, hub_card(args.model, repository), args.private))
        print(f"`tfswa separate song.mp3 --model {args.name}` takes it now.")
        return 0


def _table(found: Sequence[Listed]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", overflow="fold")
    table.add_column("kind", no_wrap=True)
    for heading in ("M", "MB", "valid", "test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("stems")
    for each in found:
        scores = (NONE if sdr is None else f"{sdr:.2f}" for sdr in (each.validation_sdr, each.test_sdr))
        size = (f"{each.parameters / 1e6:.1f}", f"{each.megabytes:.1f}")
        table.add_row(each.name, each.kind, *size, *scores, ", ".join(each.stems))
    return table
