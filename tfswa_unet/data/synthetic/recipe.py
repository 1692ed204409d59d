"""What a synthetic data set is made from, as it says itself in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfswa_unet.data.synthetic.mix import check
from tfswa_unet.errors import DataError

MANIFEST = "synthetic.json"
GENERATOR = 1  # raised whenever the same seed gives other songs
RATE = 44_100  # Hz
SHARE = 10  # one song in so many tests, and as many validate


@dataclass(frozen=True)
class Recipe:
    """Number of songs, their length in s, the seed, how many of the songs validate and test, and who plays them."""

    tracks: int
    seconds: float
    seed: int
    valid_tracks: int
    test_tracks: int
    band: int | None = None  # None: each song has a band of its own
    generator: int = GENERATOR

    def split(self, index: int) -> Literal["train", "valid", "test"]:
        """The split of a song: training songs come first, test songs last."""
        if index >= self.tracks - self.test_tracks:
            return "test"
        return "valid" if index >= self.tracks - self.test_tracks - self.valid_tracks else "train"

    def folder(self, out: Path, index: int) -> Path:
        """Where a song lies."""
        return out / self.split(index) / f"song-{index + 1:04d}"

    def song_seed(self, index: int) -> int:
        """The seed of one song, which depends on no other."""
        return int.from_bytes(np.random.SeedSequence([self.seed, index]).generate_state(4).tobytes(), "little")

    @property
    def frames(self) -> int:
        """Samples per channel of a song."""
        return round(self.seconds * RATE)


def make_recipe(
    tracks: int, seconds: float, seed: int, test_tracks: int | None = None, band: int | None = None
) -> Recipe:
    """Fill in the splits: a tenth of the songs test and as many validate, one each from three songs on.

    Raises:
        DataError: no songs, songs shorter than a second, a negative seed or band, or no song left to train on.
    """
    if tracks < 1:
        raise DataError(f"{tracks} synthetic songs were asked for; ask for tracks >= 1")
    check(seed, seconds, RATE)
    if band is not None and band < 0:
        raise DataError(f"band {band} is negative; give 0 or more")
    tenth = max(1, round(tracks / SHARE))
    if test_tracks is None:
        test_tracks = tenth if tracks > 1 else 0
    if not 0 <= test_tracks < tracks:
        raise DataError(
            f"{test_tracks} of {tracks} synthetic songs cannot be for testing; give 0 to {tracks - 1} test tracks"
        )
    return Recipe(tracks, float(seconds), seed, min(tenth, tracks - test_tracks - 1), test_tracks, band)
