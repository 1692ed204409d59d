"""tfswa runs: the runs of a folder beside each other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli import writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tfswa_unet.training.runs import RunRecord

EXAMPLES = """\
  tfswa runs                                            those in runs/: steps, best validation SDR, what differs
  tfswa runs runs/sweep --html sweep.html               one page with curves, to be opened or sent
  tfswa runs --json                                     with their whole configurations
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with curves as well")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print a line a run, the best first, and write the page."""
    from dataclasses import asdict

    from tfswa_unet.files import write_text
    from tfswa_unet.training.runs import list_runs, runs_page, unusual

    found = list_runs(args.root)
    if args.html:
        with writing(args.html, "--html"):
            write_text(args.html, runs_page(args.root, found))
    if args.json:
        print(json.dumps([{k: v for k, v in asdict(each).items() if k != "curves"} for each in found], indent=2))
        return 0

    from rich.console import Console
    from rich.padding import Padding

    console = Console(highlight=False, markup=False)
    console.print(_table(found))
    apart = [(each, told) for each, told in zip(found, unusual(found), strict=True) if told]
    if apart:
        console.print("\nwhat is not as in most of them:")
    for each, told in apart:
        console.print(Padding(f"{each.name}: {'  '.join(told)}", (0, 0, 0, 1)))
    if args.html:
        console.print(f"page: {args.html}", soft_wrap=True)
    return 0


def _table(runs: Sequence[RunRecord]) -> Table:
    from rich.table import Table

    stems = list(dict.fromkeys(stem for each in runs for stem in each.stems))
    table = Table(box=None)
    for heading in ("run", "model"):
        table.add_column(heading, overflow="fold")
    for heading in ("steps", "SDR", *stems, "at step"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in runs:
        scores = [each.best_sdr, *(each.stems.get(stem) for stem in stems)]
        told = ["–" if score is None else f"{score:.2f}" for score in scores]
        at = "–" if each.best_step is None else f"{each.best_step:,}"
        table.add_row(each.name, each.model, f"{each.steps:,}", *told, at)
    return table
