"""A song from samples: its tempo, who plays in which section, and how loud."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from tfswa_unet.data.loops.beats import BAR, CHANNELS, fill
from tfswa_unet.data.loops.library import Library, Sample
from tfswa_unet.data.loops.plan import RATE

SECTION = 4  # bars in which the same stems play
PLAYS = {"vocals": 0.7, "drums": 0.85, "bass": 0.85, "other": 0.9}  # probability in a section
LAYERS = {"vocals": 1, "drums": 3, "bass": 1, "other": 2}  # samples at once, at most
LEVEL = -20.0  # dB, RMS of a stem where it plays, before its own level
SPREAD = 6.0  # dB up or down
LAYER_SPREAD = 4.0  # dB up or down among the layers of a stem
PEAK = 0.9  # of the mixture at most
FADE = 0.01  # s at the borders of sections


def arrange(
    library: Library, seed: tuple[int, ...], frames: int, slowest: float, fastest: float
) -> dict[str, np.ndarray]:
    """Return a song's stems, (2, t) each with `frames` samples at 44.1 kHz, drawn from `seed` alone.

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
    fade = FADE * RATE
    borders = np.arange(1, len(plays)) * section
    points = np.stack([borders - fade, borders], axis=1).ravel() if len(borders) else np.array([0.0])
    values = np.repeat(plays.astype(np.float32), 2)[1:-1] if len(borders) else plays[:1].astype(np.float32)
    return np.interp(np.arange(frames), points, values).astype(np.float32)
