"""tfswa data doctor: what is wrong with a data set, before training learns from it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli.data.options import add_option, parse_options

if TYPE_CHECKING:
    from rich.console import Console

    from tfswa_unet.doctor import Diagnosis
    from tfswa_unet.doctor.findings import Severity

HELP = "examine every file of a data set: lengths, NaN, clipping, silence, copies across splits, do the stems add up"
EXAMPLES = """\
  tfswa data doctor musdb18hq                           a table of findings; exit status 1 if there are errors
  tfswa data doctor moisesdb --option grouping=six      as data.sets.moisesdb.options.grouping=six
  tfswa data doctor songs --strict                      warnings count too
  tfswa data doctor songs --fix-list bad.txt            the files and folders with errors, one a line
  tfswa data doctor songs --json --workers 4 > findings.json
"""
COLOURS = {"error": "red", "warning": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa data doctor`."""
    add = parser.add_argument
    add("root", type=Path, metavar="ROOT", help="the data set's folder, or a table of songs")
    add("--kind", default="auto", help="its layout, such as musdb18, musdb18hq or folders; auto looks")
    add_option(parser)
    add("--workers", type=int, metavar="W", help="processes to work in (default: one a processor)")
    add("--strict", action="store_true", help="exit with status 1 for warnings too")
    add("--fix-list", type=Path, metavar="FILE", help="write the paths of what has errors there, one a line")
    add("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Examine the data set and print what was found; give 1 where there are errors."""
    from rich.console import Console

    from tfswa_unet.errors import ConfigError

    if args.fix_list and not args.fix_list.absolute().parent.is_dir():
        raise ConfigError(f"--fix-list {args.fix_list}: its folder does not exist: make it first, or choose another")
    console = Console(highlight=False, soft_wrap=True)
    diagnosis = _diagnose(args, console)
    if args.json:
        print(json.dumps(diagnosis.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print_table(diagnosis, console)
    severe: tuple[Severity, ...] = ("error", "warning") if args.strict else ("error",)
    if args.fix_list:
        paths = sorted({str(path) for severity in severe for path in diagnosis.paths(severity)})
        _write(args.fix_list, "".join(f"{path}\n" for path in paths))
    return 1 if any(finding.severity in severe for finding in diagnosis.findings) else 0


def _diagnose(args: argparse.Namespace, console: Console) -> Diagnosis:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tfswa_unet.doctor import diagnose

    columns = (TextColumn("songs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=args.json) as progress:
        task = progress.add_task("songs", total=None)
        return diagnose(
            args.root,
            args.kind,
            options=parse_options(args.options),
            workers=args.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _print_table(diagnosis: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if diagnosis.findings:
        table = Table("severity", "track", "stem", "finding", "what to do")
        for each in diagnosis.findings:
            track = "/".join(name for name in (each.split, each.track) if name)
            severity = Text(each.severity, style=COLOURS[each.severity])
            table.add_row(severity, *(Text(cell) for cell in (track, each.stem, each.what, each.remedy)))
        console.print(table, soft_wrap=False)
    console.print(
        f"{_count(diagnosis.songs, 'song')} of kind {diagnosis.kind}, {_count(diagnosis.files, 'file')}, "
        f"{diagnosis.seconds / 3600:.2f} h of audio: {_count(diagnosis.count('error'), 'error')}, "
        f"{_count(diagnosis.count('warning'), 'warning')}",
        markup=False,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _write(path: Path, text: str) -> None:
    from tfswa_unet.errors import ConfigError

    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"--fix-list {path} cannot be written ({error.strerror}): choose another path") from None
