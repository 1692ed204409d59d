"""tfswa data synth: procedural songs to train on."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make procedural songs with their stems, in the layout of MUSDB18-HQ"
EXAMPLES = """\
  tfswa data synth songs                                100 procedural songs of 30 s
  tfswa data synth songs --tracks 12 --seconds 10       a small set for a first try
  tfswa data synth easy --band 0                        all by one band: minutes of training show something
  tfswa data synth more --seed 1 --workers 4            other songs, made by four processes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa data synth`."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder for the songs: new, empty, or to be completed")
    add("--tracks", type=int, default=100, metavar="N", help="number of songs")
    add("--seconds", type=float, default=30.0, metavar="S", help="length of each song")
    add("--seed", type=int, default=0, metavar="K", help="the same seed makes the same songs")
    add("--test-tracks", type=int, metavar="N", help="songs to keep for testing (default: one in ten)")
    add("--band", type=int, metavar="B", help="all songs by one band, number B (default: many)")
    add("--workers", type=int, metavar="W", help="processes to work in (default: one a processor)")


def run(args: argparse.Namespace) -> int:
    """Make the data set and say how to train on it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tfswa_unet.songs import write_dataset

    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("songs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("songs", total=None)
        write_dataset(
            args.out,
            args.tracks,
            args.seconds,
            args.seed,
            test_tracks=args.test_tracks,
            band=args.band,
            workers=args.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    made = "1 song" if args.tracks == 1 else f"{args.tracks} songs"
    console.print(f"{made} in {args.out}; train on them: python train.py data.root={args.out}", markup=False)
    return 0
