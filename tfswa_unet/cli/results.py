"""tfswa compare, tfswa results: evaluations beside each other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli import writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tfswa_unet.evaluation.compare import Difference


class Compare:
    """Two evaluations of the same tracks."""

    EXAMPLES = """\
  tfswa compare runs/a/scores-best-test runs/b/scores-best-test     which is ahead, by how much, and is it chance
  tfswa compare A B --metric uSDR                                   in whole-track SDR
  tfswa compare A B --json                                          the numbers
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("first", type=Path, metavar="A", help="folder that eval.py wrote, or its scores.json")
        parser.add_argument("second", type=Path, metavar="B", help="another, of the same data")
        parser.add_argument("--metric", default="SDR", help="what is compared, by its name in scores.json")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Print a line a stem, and a sentence."""
        from dataclasses import asdict

        from tfswa_unet.evaluation.compare import compare, verdict
        from tfswa_unet.evaluation.results import read_result

        first, second = read_result(args.first), read_result(args.second)
        found = compare(first, second, args.metric)
        names = _told_apart(args.first, args.second)
        told = verdict(*names, found, args.metric)
        if args.json:
            rows = [asdict(each) | {"certain": each.certain} for each in found]
            print(json.dumps({"metric": args.metric, "differences": rows, "verdict": told}, indent=2))
            return 0

        from rich.console import Console

        console = Console(highlight=False, markup=False)
        console.print(_table(found, args.metric))
        console.print(f"A: {args.first}\nB: {args.second}\n{told}", soft_wrap=True)
        return 0


class Results:
    """A folder of evaluations."""

    EXAMPLES = """\
  tfswa results                                         evaluations in runs/, as results.html
  tfswa results results/ -o leaderboard.html            those of another folder, as a page to be opened or sent
  tfswa results --no-published                          without the scores that others publish of their models
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("root", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="folder of them")
        parser.add_argument("-o", "--out", type=Path, default=Path("results.html"), metavar="FILE", help="the page")
        parser.add_argument("--no-published", action="store_true", help="leave out what others publish of theirs")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Write the page."""
        from tfswa_unet.evaluation.results import find_results, results_page
        from tfswa_unet.files import write_text

        found = find_results(args.root)
        text = results_page(args.root, found, published=not args.no_published)
        with writing(args.out):
            write_text(args.out, text)
        print(f"{len(found)} evaluations: {args.out}")
        return 0


def _told_apart(first: Path, second: Path) -> tuple[str, str]:
    """Short names of two paths: their last parts, with as many before them as make them differ."""
    one, other = (path.parent if path.name == "scores.json" else path for path in (first, second))
    for count in range(1, max(len(one.parts), len(other.parts)) + 1):
        names = ("/".join(one.parts[-count:]), "/".join(other.parts[-count:]))
        if names[0] != names[1]:
            return names
    return "A", "B"


def _table(differences: Sequence[Difference], metric: str) -> Table:
    from rich.table import Table

    table = Table(title=f"{metric}, means over the tracks that have it in both", box=None)
    table.add_column("stem")
    for heading in ("tracks", "A", "B", "B − A", "95 % interval", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in differences:
        interval = "–" if each.low is None else f"{each.low:+.2f} to {each.high:+.2f}"
        told = "more than chance" if each.certain else "" if each.low is None else "may be chance"
        numbers = (f"{each.first:.2f}", f"{each.second:.2f}", f"{each.mean:+.2f}")
        table.add_row(each.stem, str(each.tracks), *numbers, interval, told)
    return table
