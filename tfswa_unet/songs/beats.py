"""One loop or one-shot, brought to a tempo and repeated for as long as a part lasts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tfswa_unet import audio
from tfswa_unet.data.augmentation.pitch import fit, stretch
from tfswa_unet.data.reading import match_channels
from tfswa_unet.data.tempo import BAR, estimate_tempo

RATE = 44_100  # Hz
ONE_SHOT = 1.0  # s; what is shorter and has no tempo in its name is a single hit
CHANNELS = 2
RISE, FALL = 0.001, 0.005  # s of fade where a loop meets itself again; a drum on its first beat keeps its attack
SAME = 0.002  # relative difference of tempos that is not stretched


@dataclass(frozen=True)
class Sample:
    """One file: length in samples per channel, rate in Hz, and the tempo in its name in bpm, if there is one."""

    path: Path
    rate: int
    length: int
    bpm: float | None

    @property
    def is_one_shot(self) -> bool:
        """Whether it is a single hit, not a loop."""
        return self.bpm is None and self.length < ONE_SHOT * self.rate


def fill(sample: Sample, bpm: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return `length` samples of a sample at `bpm`, (2, t) at 44.1 kHz: loops repeated, single hits in a pattern.

    A loop without a tempo of its own, such as a held chord, is not stretched and starts anew on a bar.

    Raises AudioError and DataError for a file that cannot be read as mono or stereo.
    """
    sound = _read(sample, length)
    beat = 60 / bpm * RATE
    if sample.is_one_shot:
        return _place(sound, _pattern(beat, length, rng), length)
    own = sample.bpm or _estimate(sample)
    if own is None:
        bars = max(1, -(-sound.shape[-1] // round(BAR * beat)))
        return _place(_faded(sound), _every(bars * BAR * beat, length), length)
    beats = max(1, round(sound.shape[-1] / RATE * own / 60))
    near = nearest_octave(own, bpm)
    if abs(bpm / near - 1) > SAME:
        sound = stretch(torch.from_numpy(sound), bpm / near).numpy()
    # As long as its beats, so that no repetition comes early or late.
    beats *= near / own
    sound = fit(torch.from_numpy(sound), round(beats * beat)).numpy()
    return _place(_faded(sound), _every(beats * beat, length), length)


def nearest_octave(own: float, bpm: float) -> float:
    """Return `own` doubled or halved so that the stretch to `bpm` is the smallest: 70 bpm are 140 in a song of 130."""
    return float(own * 2.0 ** round(np.log2(bpm / own)))


def _read(sample: Sample, length: int) -> np.ndarray:
    # No stretch speeds up by more than √2, and a song needs no more than its length.
    wanted = min(sample.length, round(1.5 * length * sample.rate / RATE) + 1)
    sound = audio.resample(audio.read(sample.path, 0, wanted), sample.rate, RATE)
    matched = match_channels(sound, CHANNELS, str(sample.path))
    return np.ascontiguousarray(np.broadcast_to(matched, (CHANNELS, matched.shape[-1])))


@cache
def _estimate(sample: Sample) -> float | None:
    return estimate_tempo(audio.read(sample.path, 0, min(sample.length, 30 * sample.rate)), sample.rate)


def _pattern(beat: float, length: int, rng: np.random.Generator) -> list[int]:
    """Where single hits fall: the same eighths in every bar, the first among them."""
    eighths = np.flatnonzero(rng.random(2 * BAR) < 0.35).tolist()
    bars = np.arange(0, length, BAR * beat)
    return [start for bar in bars for e in sorted({0, *eighths}) if (start := round(bar + e * beat / 2)) < length]


def _every(period: float, length: int) -> list[int]:
    return [round(k * period) for k in range(-(-length // max(1, int(period))) + 1) if round(k * period) < length]


def _place(sound: np.ndarray, starts: list[int], length: int) -> np.ndarray:
    result = np.zeros((sound.shape[0], length), np.float32)
    for start in starts:
        end = min(length, start + sound.shape[-1])
        result[:, start:end] += sound[:, : end - start]
    return result


def _faded(sound: np.ndarray) -> np.ndarray:
    length = sound.shape[-1]
    gain = np.ones(length, np.float32)
    rise, fall = (min(round(seconds * RATE), length // 2) for seconds in (RISE, FALL))
    gain[:rise] = np.linspace(0, 1, rise, endpoint=False)
    gain[length - fall :] = np.linspace(1, 0, fall)
    return sound * gain
