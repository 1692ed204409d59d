"""What a synthetic data set is made from, and the file in which it says so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfswa_unet.data.synthetic.mix import check
from tfswa_unet.errors import DataError
from tfswa_unet.files import write_text

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


def claim(out: Path, recipe: Recipe) -> None:
    """Write the recipe into an empty or new folder, or accept the same recipe that lies there.

    Raises:
        DataError: the folder holds something else, or another synthetic data set, or cannot be made.
    """
    manifest = out / MANIFEST
    try:
        if manifest.exists():
            return _compare(manifest, recipe)
        if out.exists() and any(out.iterdir()):
            raise DataError(
                f"{out} holds files that are no synthetic data set (there is no {MANIFEST}): choose an empty folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        write_text(manifest, json.dumps(asdict(recipe), indent=2) + "\n")
    except OSError as error:
        raise DataError(
            f"{out} cannot take a data set ({error.strerror}): choose a folder that you can write to"
        ) from error


def _compare(manifest: Path, recipe: Recipe) -> None:
    try:
        found = json.loads(manifest.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{manifest} cannot be read as JSON: choose another folder, or delete {manifest.parent} and start anew"
        )
    differences = [
        f"{key} {found.get(key)} where {value} is asked for"
        for key, value in asdict(recipe).items()
        if found.get(key) != value
    ]
    if differences:
        raise DataError(
            f"{manifest.parent} holds another synthetic data set, {', '.join(differences)}: "
            "choose another folder, ask for what it holds, or delete it"
        )
