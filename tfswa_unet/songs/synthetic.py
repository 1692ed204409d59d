"""Procedural songs with stems, and data sets of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tfswa_unet.errors import DataError
from tfswa_unet.songs.bass import bass
from tfswa_unet.songs.compose import compose, played_by
from tfswa_unet.songs.drums import drums
from tfswa_unet.songs.instruments import other
from tfswa_unet.songs.mixdown import apply_strip, below_peak, room_spectrum
from tfswa_unet.songs.sounds import impulse
from tfswa_unet.songs.voice import vocals
from tfswa_unet.songs.writing import RATE, SongRecipe, check_song, write_missing
from tfswa_unet.types import STEMS, Split

GENERATOR = 1  # raised whenever the same seed gives other songs
ONE_IN = 10  # one song in so many tests, and as many validate
RATES = (16_000, 192_000)
PEAK = 0.9  # full scale; the rest is headroom for rounding


@dataclass(frozen=True)
class Recipe(SongRecipe):
    """Recipe of a synthetic data set: number of songs, s of each, seed, songs that validate and test, band, stabs."""

    what, manifest, name = "synthetic songs", "synthetic.json", "song-{:04d}"
    added = {"stabs": 0.0}  # noqa: RUF012, a ClassVar of the base

    tracks: int
    seconds: float
    seed: int
    valid_tracks: int
    test_tracks: int
    band: int | None = None  # None: each song has a band of its own
    stabs: float = 0.0  # share of songs whose bass is short low notes
    generator: int = GENERATOR

    @property
    def count(self) -> int:
        """Number of songs."""
        return self.tracks

    def split(self, index: int) -> Split:
        """Split of a song: training songs come first, test songs last."""
        if index >= self.tracks - self.test_tracks:
            return "test"
        return "valid" if index >= self.tracks - self.test_tracks - self.valid_tracks else "train"

    def song_seed(self, index: int) -> int:
        """Seed of one song, which depends on no other song."""
        return int.from_bytes(np.random.SeedSequence([self.seed, index]).generate_state(4).tobytes(), "little")


def synthesize(
    seed: int, seconds: float, rate: int = 44_100, band: int | None = None, stabs: float = 0.0
) -> dict[str, np.ndarray]:
    """Synthesize a song of four stems; the same arguments give the same samples.

    Songs of one `band` share voice, kit, bass, instruments, room and mix, and differ in all that is played. With the
    probability `stabs` the bass plays short low notes, near to a bass drum's.

    Returns vocals, drums, bass and other in this order, float32 (2, t) each with t = round(seconds · rate); neither a
    stem nor their sum exceeds 0.9 of full scale.

    Raises:
        DataError: the seed is negative, the song shorter than a second, or the rate out of range.
    """
    check_song(seed, seconds)
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"a sample rate of {rate} Hz is out of range; give {RATES[0]} to {RATES[1]} Hz")
    players, plan, space = (np.random.default_rng([seed, k]) for k in range(3))
    score = compose(plan, seconds)
    if band is not None:
        score = played_by(score, compose(np.random.default_rng([band, len(STEMS)]), seconds))
    room = room_spectrum(impulse(score.room, space, rate))
    parts: dict[str, Callable[..., np.ndarray]]
    parts = {"vocals": vocals, "drums": drums, "bass": partial(bass, stabs=stabs), "other": other}
    stems = {}
    for stem, rng in zip(STEMS, players.spawn(len(STEMS)), strict=True):
        stems[stem] = apply_strip(parts[stem](score, rng, rate), score.strips[stem], room, rate)
    return below_peak(stems, PEAK)


def make_recipe(
    tracks: int,
    seconds: float,
    seed: int,
    test_tracks: int | None = None,
    band: int | None = None,
    stabs: float = 0.0,
) -> Recipe:
    """Recipe with its splits filled in: a tenth of the songs test and as many validate, one each from three songs on.

    Raises:
        DataError: no songs, songs shorter than a second, a negative seed or band, stabs that are no share, or no song
            left to train on.
    """
    if tracks < 1:
        raise DataError(f"{tracks} synthetic songs were asked for; ask for tracks >= 1")
    check_song(seed, seconds)
    if band is not None and band < 0:
        raise DataError(f"band {band} is negative; give 0 or more")
    if not 0 <= stabs <= 1:
        raise DataError(f"stabs is {stabs:g}; give the share of the songs that have them, 0 to 1")
    tenth = max(1, round(tracks / ONE_IN))
    if test_tracks is None:
        test_tracks = tenth if tracks > 1 else 0
    if not 0 <= test_tracks < tracks:
        raise DataError(
            f"{test_tracks} of {tracks} synthetic songs cannot be for testing; give 0 to {tracks - 1} test tracks"
        )
    return Recipe(tracks, float(seconds), seed, min(tenth, tracks - test_tracks - 1), test_tracks, band, stabs)


def write_dataset(
    out: str | Path,
    tracks: int,
    seconds: float,
    seed: int,
    *,
    test_tracks: int | None = None,
    band: int | None = None,
    stabs: float = 0.0,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write synthetic songs as out/{train,valid,test}/<song>/{mixture,vocals,drums,bass,other}.wav.

    16-bit stereo at 44.1 kHz; the mixture is exactly the sum of the written stems. A song's bytes depend on `seed` and
    its number only, not on `workers` (processes; by default as many as there are processors, if the work is worth
    starting them). For `band` and `stabs` see `synthesize`. Run again after an interruption, it makes what is missing.
    `on_progress` is told how many songs are done, and of how many.

    Raises:
        DataError: a value is out of range, `out` holds anything but this very data set, or the disk is too small.
    """
    out = Path(out).expanduser()
    recipe = make_recipe(tracks, seconds, seed, test_tracks, band, stabs)
    song = partial(synthesize, seconds=recipe.seconds, rate=RATE, band=band, stabs=stabs)
    songs = [partial(song, recipe.song_seed(k)) for k in range(tracks)]
    write_missing(out, recipe, STEMS, songs, workers, on_progress)
