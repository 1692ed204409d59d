"""Under what all networks of a comparison are trained."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from benchmarks.songs import Songs
from tfswa_unet.bench.subject import check_positive
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.memory import keep_pages
from tfswa_unet.models.presets import choice
from tfswa_unet.types import Track

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# Where the songs lie and who loads them changes no result.
WITHOUT_CONSEQUENCE = ("data", "workers")


@dataclass(frozen=True)
class Setting:
    """The same for every network; each field is an option of the command line.

    Raises:
        ConfigError: for impossible values or a loss that conf/loss lacks.
    """

    minutes: float
    loss: str
    batch: int
    segment: float  # s
    seed: int
    data: Path
    songs: int
    test_songs: int
    song_seconds: float
    workers: int
    device: str
    threads: int | None

    def __post_init__(self) -> None:
        positive = ("minutes", "batch", "segment", "songs", "test_songs", "song_seconds", "threads")
        check_positive(**{name: getattr(self, name) for name in positive})
        if self.workers < 0:
            raise ConfigError(f"--workers {self.workers}: expected 0 (the training process loads) or more")
        self.terms()
        pick_device(self.device)

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Setting:
        """The setting that the command line asks for."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def terms(self) -> dict[str, Any]:
        """The loss, for `WeightedLoss`."""
        return choice("loss", self.loss)

    def place(self) -> torch.device:
        """Where networks are trained."""
        return pick_device(self.device)

    def facts(self) -> dict[str, Any]:
        """Everything that decides a result, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if name not in WITHOUT_CONSEQUENCE}

    def prepare(self) -> tuple[list[Track], list[Track]]:
        """Set the process up, make the songs where they are missing, and give those to train on and those to score."""
        if self.threads:
            torch.set_num_threads(self.threads)
        keep_pages()
        songs = Songs(self.data, self.songs, self.test_songs, self.song_seconds, self.seed)
        songs.make()
        return songs.tracks()


def add_arguments(parser: argparse.ArgumentParser, minutes: float, loss: str, out: str) -> None:
    """Add the options of `Setting`, and where results go.

    Args:
        parser: of a script.
        minutes: default wall-clock of each training.
        loss: default loss.
        out: default name of the file of results.
    """
    add = parser.add_argument
    add("--minutes", type=float, default=minutes, help=f"wall-clock of each training (default: {minutes:g})")
    add("--loss", default=loss, metavar="NAME", help=f"a file of conf/loss (default: {loss})")
    add("--batch", type=int, default=3, metavar="N", help="segments a step (default: 3)")
    add("--segment", type=float, default=1.5, metavar="S", help="length of a training segment (default: 1.5)")
    add("--seed", type=int, default=0, help="of songs, batches and weights (default: 0)")
    add("--data", type=Path, default=HERE / "data", help="folder of the songs, made once (default: benchmarks/data)")
    add("--songs", type=int, default=60, metavar="N", help="songs to train on (default: 60)")
    add("--test-songs", type=int, default=8, metavar="N", help="songs to score (default: 8)")
    add("--song-seconds", type=float, default=20.0, metavar="S", help="length of a song (default: 20)")
    add("--workers", type=int, default=1, metavar="N", help="loader processes (default: 1)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    add("--out", type=Path, default=RESULTS / out, help=f"file of the results (default: benchmarks/results/{out})")
    add("--json", action="store_true", help="print JSON instead of a table")


def pairs(given: Sequence[str], option: str) -> dict[str, float]:
    """Positive numbers by name from "name=number"; raises ConfigError for anything else."""
    values = {}
    for pair in given:
        name, _, value = pair.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise ConfigError(f"{option} {pair}: expected name=number, such as htdemucs=3e-4") from None
        check_positive(**{option.lstrip("-"): values[name]})
    return values
