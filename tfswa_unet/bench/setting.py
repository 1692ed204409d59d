"""What the scripts share: lists on the command line, progress, one sentence for mistakes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from tfswa_unet.bench.subject import check_positive
from tfswa_unet.config import choice
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, load_tracks
from tfswa_unet.data.batches import loader
from tfswa_unet.errors import ConfigError, UserError
from tfswa_unet.evaluation.tracks import ScoredTrack
from tfswa_unet.files import write_text
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.processes import keep_pages
from tfswa_unet.songs import write_dataset
from tfswa_unet.types import STEMS, Track

if TYPE_CHECKING:
    from rich.console import RenderableType


WIDTH = 180  # characters, where there is no terminal


def names(text: str, separator: str = ",") -> tuple[str, ...]:
    """The names in "a,b,c"."""
    return tuple(name.strip() for name in text.split(separator) if name.strip())


def tell(text: str) -> None:
    """Print a line of progress at once, beside what the script prints as its result."""
    print(text, file=sys.stderr, flush=True)


def show(*views: RenderableType) -> None:
    """Print tables; what goes into a file or a pipe keeps its columns whole."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    for view in views:
        console.print(view)


def run(main: Callable[[], int]) -> NoReturn:
    """Leave with the script's exit status: 1 for what the user can put right, 130 when interrupted."""
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        tell("interrupted")
        sys.exit(130)


class Results:
    """Named records in one JSON file, together with the settings under which all of them were made.

    Args:
        path: the file; continued where it exists.
        settings: plain values that decide the results.

    Raises:
        ConfigError: where the file holds something else, or results under other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))
        self.records: dict[str, Any] = self._read() if path.exists() else {}

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep a record, on disk at once."""
        self.records[name] = dict(record)
        write_text(self.path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return {"settings": self.settings, "results": self.records}

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, records = found["settings"], dict(found["results"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} holds no results of this script: give another --out") from error
        keys = dict.fromkeys((*self.settings, *settings))
        other = [key for key in keys if settings.get(key) != self.settings.get(key)]
        if other:
            differences = ", ".join(
                f"{key} {settings.get(key)} where {self.settings.get(key)} is asked" for key in other
            )
            raise ConfigError(
                f"{self.path} holds results under other settings ({differences}): give another --out, or delete it"
            )
        return records


HERE = Path(__file__).parent
RESULTS = HERE / "results"
# Where the songs lie and who loads them changes no result.
WITHOUT_CONSEQUENCE = ("data", "workers")


RATE, CHANNELS = 44_100, 2
MIXING = Mixing("random", p=0.2)  # as in conf/experiment/demo.yaml
EPOCH = 100_000  # examples; only where numbers start anew


@dataclass(frozen=True)
class Songs:
    """Synthetic songs, each by a band of its own: made at `root` where they are missing."""

    root: Path
    train: int
    test: int
    seconds: float  # of each song
    seed: int

    def make(self) -> None:
        """Write what is missing; raises DataError where something else lies there."""
        reported = {0}

        def report(done: int, total: int) -> None:
            if sys.stderr.isatty() or done == total or done // 10 not in reported:
                reported.add(done // 10)
                tell(f"songs: {done} of {total} at {self.root}")

        write_dataset(
            self.root, self.train + self.test, self.seconds, self.seed, test_tracks=self.test, on_progress=report
        )

    def tracks(self) -> tuple[list[Track], list[Track]]:
        """What is trained on and what is scored; nothing is chosen by validation, so its songs train too."""
        tracks = load_tracks("musdb18hq", self.root)
        return [t for t in tracks if t.split != "test"], [t for t in tracks if t.split == "test"]


def plan() -> StemPlan:
    """All four stems."""
    return StemPlan.from_config({stem: [stem] for stem in STEMS})


def batches(tracks: Sequence[Track], batch: int, seconds: float, seed: int, workers: int) -> Iterator[Tensor]:
    """Endless batches of stems (b, s, c, t), the same ones in the same order for the same arguments."""
    dataset = SegmentDataset(tracks, plan(), seconds, RATE, CHANNELS, seed, EPOCH, MIXING)
    sampler = EpochSampler(EPOCH)
    endless = loader(dataset, batch, workers, sampler, drop_last=True)
    for epoch in count():
        sampler.set_epoch(epoch)
        yield from endless


def to_score(tracks: Sequence[Track]) -> list[ScoredTrack]:
    """Tracks as scoring wants them."""
    return [ScoredTrack(track, {stem: (stem,) for stem in STEMS}) for track in tracks]


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
