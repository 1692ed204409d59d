"""tfswa data loops: songs to train on from one's own samples and loops."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "assemble songs with their stems from folders of isolated samples and loops"
EXAMPLES = """\
  tfswa data loops samples songs                        100 songs of 30 s from samples/{vocals,drums,bass,other}/
  tfswa data loops samples songs --bpm 120-130          all near one tempo
  tfswa data loops samples more --seed 1 --workers 4    other songs, made by four processes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa data loops`."""
    add = parser.add_argument
    add("root", type=Path, metavar="ROOT", help="folder with vocals/, drums/, bass/ and other/, two of them at least")
    add("out", type=Path, metavar="OUT", help="folder for the songs: new, empty, or to be completed")
    add("--songs", type=int, default=100, metavar="N", help="number of songs, a tenth of which validate")
    add("--seconds", type=float, default=30.0, metavar="S", help="length of each song")
    add("--seed", type=int, default=0, metavar="K", help="the same seed and samples make the same songs")
    add("--bpm", default="90-140", metavar="B", help="tempos of the songs; loops are stretched to them")
    add("--workers", type=int, metavar="W", help="processes to work in (default: one a processor)")


def run(args: argparse.Namespace) -> int:
    """Make the songs and say how to train on them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tfswa_unet.songs import parse_bpm, write_songs

    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("songs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bpm = parse_bpm(args.bpm)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("songs", total=None)
        stems = write_songs(
            args.root,
            args.out,
            args.songs,
            args.seconds,
            args.seed,
            bpm=bpm,
            workers=args.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    made = "1 song" if args.songs == 1 else f"{args.songs} songs"
    kind = "" if len(stems) == 4 else " data=folders"
    console.print(
        f"{made} with {', '.join(stems)} in {args.out}; train on them: python train.py{kind} data.root={args.out}",
        markup=False,
    )
    return 0
