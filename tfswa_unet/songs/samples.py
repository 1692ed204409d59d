"""Samples: a library of loops and one-shots, and each of them repeated at a tempo."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tfswa_unet import audio
from tfswa_unet.data.augmentation.pitch import fit, stretch
from tfswa_unet.data.reading import match_channels
from tfswa_unet.data.tempo import BAR, estimate_tempo, tempo_in_name
from tfswa_unet.errors import DataError
from tfswa_unet.songs.sounds import place
from tfswa_unet.songs.writing import RATE
from tfswa_unet.types import STEMS

ONE_SHOT = 1.0  # s; what is shorter and has no tempo in its name is a single hit
CHANNELS = 2
HELD_OUT = 8  # one sample in so many is kept for the songs that validate
THREADS = 8
RISE, FALL = 0.001, 0.005  # s of fade where a loop meets itself again; a drum on its first beat keeps its attack
SAME = 0.002  # relative difference of tempos that is not stretched


@dataclass(frozen=True)
class Sample:
    """Loop or one-shot: length in samples per channel, rate in Hz, and the tempo in its name in bpm, if any."""

    path: Path
    rate: int
    length: int
    bpm: float | None

    @property
    def is_one_shot(self) -> bool:
        """Whether it is a single hit and no loop."""
        return self.bpm is None and self.length < ONE_SHOT * self.rate


Library = Mapping[str, tuple[Sample, ...]]  # by stem


def scan(root: Path) -> Library:
    """List the samples of root/{vocals,drums,bass,other}/** by stem; stems without any are left out.

    Raises:
        DataError: no such folder, or fewer than two stems have samples.
        AudioError: a file cannot be read as audio.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: give one that holds {', '.join(f'{stem}/' for stem in STEMS)}.")
    files = {
        stem: [path for path in sorted((root / stem).rglob("*")) if _is_audio(path, root)]
        for stem in STEMS
        if (root / stem).is_dir()
    }
    files = {stem: paths for stem, paths in files.items() if paths}
    if len(files) < 2:
        found = f"only {next(iter(files))}/" if files else "none"
        raise DataError(
            f"{root} has samples for {found}: put audio files into at least two of "
            f"{', '.join(f'{stem}/' for stem in STEMS)}."
        )
    with ThreadPoolExecutor(THREADS) as pool:
        return {stem: tuple(pool.map(_sample, paths)) for stem, paths in files.items()}


def divide(library: Library, seed: int) -> tuple[Library, Library]:
    """Split a library into samples to train with and samples to validate with, an eighth of each stem, at least one.

    A stem's only sample is in both.
    """
    train, valid = {}, {}
    for number, (stem, samples) in enumerate(library.items()):
        order = np.random.default_rng((seed, number)).permutation(len(samples)).tolist()
        held = max(1, len(samples) // HELD_OUT)
        valid[stem] = tuple(samples[i] for i in sorted(order[:held]))
        train[stem] = tuple(samples[i] for i in sorted(order[held:])) or valid[stem]
    return train, valid


def digest(library: Library, root: Path) -> str:
    """Hash of what a library holds, which changes with the files' names, lengths and rates."""
    listed = [
        f"{stem}/{sample.path.relative_to(root).as_posix()} {sample.length} {sample.rate}"
        for stem, samples in library.items()
        for sample in samples
    ]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


def fill(sample: Sample, bpm: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a loop, or place a one-shot in a pattern, at `bpm` for `length` samples; (2, t) at 44.1 kHz.

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
    """Tempo `own` doubled or halved until nearest to `bpm`: 70 bpm are 140 in a song of 130."""
    return float(own * 2.0 ** round(np.log2(bpm / own)))


def _is_audio(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in audio.SUFFIXES and path.is_file() and not hidden


def _sample(path: Path) -> Sample:
    info = audio.probe(path)
    return Sample(path, info.rate, info.length, tempo_in_name(path.stem))


def _read(sample: Sample, length: int) -> np.ndarray:
    # No stretch speeds up by more than √2, and a song needs no more than its length.
    wanted = min(sample.length, round(1.5 * length * sample.rate / RATE) + 1)
    sound = audio.resample(audio.read(sample.path, 0, wanted), sample.rate, RATE)
    matched = match_channels(sound, CHANNELS, str(sample.path))
    return np.array(np.broadcast_to(matched, (CHANNELS, matched.shape[-1])))


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
        place(result, sound, start)
    return result


def _faded(sound: np.ndarray) -> np.ndarray:
    length = sound.shape[-1]
    gain = np.ones(length, np.float32)
    rise, fall = (min(round(seconds * RATE), length // 2) for seconds in (RISE, FALL))
    gain[:rise] = np.linspace(0, 1, rise, endpoint=False)
    gain[length - fall :] = np.linspace(1, 0, fall)
    return sound * gain
