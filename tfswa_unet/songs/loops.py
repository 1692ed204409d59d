"""Songs arranged from loops and one-shots, and data sets of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from tfswa_unet.data.tempo import BAR
from tfswa_unet.errors import DataError
from tfswa_unet.songs.samples import CHANNELS, Library, Sample, digest, divide, fill, scan
from tfswa_unet.songs.writing import RATE, SongRecipe, check_song, write_missing
from tfswa_unet.types import Split

BUILDER = 1  # raised whenever the same seed and samples give other songs
VALID_SHARE = 10  # one song in so many validates
SLOWEST, FASTEST = 40.0, 240.0  # bpm
SECTION = 4  # bars in which the same stems play
PLAYS = {"vocals": 0.7, "drums": 0.85, "bass": 0.85, "other": 0.9}  # probability in a section
LAYERS = {"vocals": 1, "drums": 3, "bass": 1, "other": 2}  # samples at once, at most
LEVEL = -20.0  # dB, RMS of a stem where it plays, before its own level
SPREAD = 6.0  # dB up or down
LAYER_SPREAD = 4.0  # dB up or down among the layers of a stem
PEAK = 0.9  # of the mixture at most
FADE = 0.01  # s at the borders of sections


@dataclass(frozen=True)
class LoopRecipe(SongRecipe):
    """Recipe of songs from loops: their number, s of each, seed, tempos in bpm, digest of the samples."""

    what, manifest, name = "songs from loops", "loops.json", "loops-{:05d}"

    songs: int
    seconds: float
    seed: int
    slowest: float
    fastest: float
    samples: str
    builder: int = BUILDER

    def __post_init__(self) -> None:
        if self.songs < 1:
            raise DataError(f"{self.songs} songs were asked for; ask for 1 or more")
        check_song(self.seed, self.seconds)
        if not SLOWEST <= self.slowest <= self.fastest <= FASTEST:
            raise DataError(
                f"tempos from {self.slowest:g} to {self.fastest:g} bpm were asked for; give a range within "
                f"{SLOWEST:g}-{FASTEST:g}, the slower first"
            )

    @property
    def count(self) -> int:
        """Number of songs."""
        return self.songs

    def split(self, index: int) -> Split:
        """Split of a song: a tenth validate, the last ones, and one at least where there are two songs."""
        valid = max(1, self.songs // VALID_SHARE) if self.songs > 1 else 0
        return "valid" if index >= self.songs - valid else "train"


def parse_bpm(text: str) -> tuple[float, float]:
    """Parse a range of tempos in bpm, "90-140" or "120", as (slowest, fastest); raises DataError for other texts."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:-\s*(\d+(?:\.\d+)?)\s*)?", text)
    if not found:
        raise DataError(f"the tempos are {text!r}; give a range such as 90-140, or one tempo such as 120")
    return float(found[1]), float(found[2] or found[1])


def write_songs(
    root: str | Path,
    out: str | Path,
    songs: int,
    seconds: float,
    seed: int,
    *,
    bpm: tuple[float, float] = (90.0, 140.0),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write songs from the samples of root/{vocals,drums,bass,other}/ as out/{train,valid}/<song>/<stem>.wav.

    16-bit stereo at 44.1 kHz with mixture.wav, exactly the sum of the written stems. Songs that validate are made from
    samples that none that trains has, where a stem has two or more. A song's bytes depend on the samples, `seed` and
    its number. Run again after an interruption, it makes what is missing. `on_progress` is told how many songs are
    done, and of how many.

    Returns:
        The stems that the songs have: those for which there are samples.

    Raises:
        DataError: a value is out of range, samples are missing, `out` holds anything but these very songs, or the disk
            is too small.
        AudioError: a sample cannot be read.
    """
    root, out = Path(root).expanduser(), Path(out).expanduser()
    library = scan(root)
    recipe = LoopRecipe(songs, float(seconds), seed, *bpm, samples=digest(library, root))
    train, valid = divide(library, seed)
    made = [
        partial(
            arrange,
            train if recipe.split(index) == "train" else valid,
            (recipe.seed, index),
            recipe.frames,
            recipe.slowest,
            recipe.fastest,
        )
        for index in range(songs)
    ]
    write_missing(out, recipe, tuple(library), made, workers, on_progress)
    return tuple(library)


def arrange(
    library: Library, seed: tuple[int, ...], frames: int, slowest: float, fastest: float
) -> dict[str, np.ndarray]:
    """Arrange a song from samples; its stems, (2, t) each with `frames` samples at 44.1 kHz, drawn from `seed` alone.

    One tempo from `slowest` to `fastest` bpm for all; sections of four bars in which a stem plays or rests; levels are
    drawn for each stem, and all of them are turned down alike where the sum would pass 0.9.

    Raises AudioError and DataError for samples that cannot be read.
    """
    rng = np.random.default_rng(seed)
    bpm = float(rng.uniform(slowest, fastest))
    section = SECTION * BAR * 60 / bpm * RATE
    playing = _sections(rng, tuple(library), ceil(frames / section))
    stems = {
        stem: _stem(rng, samples, LAYERS[stem], bpm, frames) * _gate(playing[stem], section, frames)
        for stem, samples in library.items()
    }
    # No stem alone may pass full scale either: where two cancel, the mixture is quieter than they are.
    sounds = [*stems.values(), np.sum(list(stems.values()), axis=0)]
    peak = max(float(np.abs(sound).max()) for sound in sounds)
    gain = np.float32(min(1.0, PEAK / peak) if peak > 0 else 1.0)
    return {stem: sound * gain for stem, sound in stems.items()}


def _stem(rng: np.random.Generator, samples: tuple[Sample, ...], layers: int, bpm: float, frames: int) -> np.ndarray:
    count = int(rng.integers(1, min(layers, len(samples)) + 1))
    total = np.zeros((CHANNELS, frames), np.float32)
    for number in rng.choice(len(samples), count, replace=False).tolist():
        total += _levelled(fill(samples[number], bpm, frames, rng), rng.uniform(-LAYER_SPREAD, LAYER_SPREAD))
    return _levelled(total, LEVEL + rng.uniform(-SPREAD, SPREAD))


def _sections(rng: np.random.Generator, stems: tuple[str, ...], count: int) -> Mapping[str, np.ndarray]:
    """Whether each stem plays in each section: every stem in one at least, and two stems in all."""
    plays = np.array([rng.random(count) < PLAYS[stem] for stem in stems])
    for section in range(count):
        first_two = rng.permutation(len(stems))[:2]
        if plays[:, section].sum() < 2:
            plays[first_two, section] = True
    for stem in np.flatnonzero(~plays.any(axis=1)):
        plays[stem, rng.integers(count)] = True
    return dict(zip(stems, plays, strict=True))


def _levelled(sound: np.ndarray, level: float) -> np.ndarray:
    """`sound` (c, t) with an RMS of `level` dB over its hundredths of a second that are not silent."""
    size = RATE // 100
    power = np.square(sound[:, : sound.shape[-1] // size * size]).reshape(sound.shape[0], -1, size).mean(axis=(0, 2))
    heard = power[power > 1e-8 * max(float(power.max(initial=0)), 1e-12)]
    if not len(heard):
        return sound
    return sound * np.float32(10 ** (level / 20) / np.sqrt(heard.mean()))


def _gate(plays: np.ndarray, section: float, frames: int) -> np.ndarray:
    borders = np.arange(1, len(plays)) * section
    points = np.append(0.0, np.stack([borders - FADE * RATE, borders], axis=1))
    values = np.repeat(plays.astype(np.float32), 2)[:-1]
    return np.interp(np.arange(frames), points, values).astype(np.float32)
