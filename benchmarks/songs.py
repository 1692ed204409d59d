"""The songs that networks are trained and scored on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from benchmarks.command import tell
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, load_tracks
from tfswa_unet.data.batches import loader
from tfswa_unet.data.synthetic import STEMS, write_dataset
from tfswa_unet.evaluation.song import Song
from tfswa_unet.types import Track

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


def to_score(tracks: Sequence[Track]) -> list[Song]:
    """Tracks as scoring wants them."""
    return [Song(track, {stem: (stem,) for stem in STEMS}) for track in tracks]
