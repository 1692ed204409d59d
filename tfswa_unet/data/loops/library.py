"""The samples and loops that songs are made from: a folder a stem."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.loops.tempo import tempo_in_name
from tfswa_unet.data.sets.folders import SUFFIXES
from tfswa_unet.errors import DataError

STEMS = ("vocals", "drums", "bass", "other")
ONE_SHOT = 1.0  # s; what is shorter and has no tempo in its name is a single hit
HELD_OUT = 8  # one sample in so many is kept for the songs that validate
THREADS = 8


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


Library = Mapping[str, tuple[Sample, ...]]


def scan(root: Path) -> Library:
    """Return the samples of root/{vocals,drums,bass,other}/**, by stem; stems without any are left out.

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
    """Return the samples to train with and those to validate with, one in eight of each stem and at least one.

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
    """Return a name for what a library holds: it changes with the files' names, lengths and rates."""
    listed = [
        f"{stem}/{sample.path.relative_to(root).as_posix()} {sample.length} {sample.rate}"
        for stem, samples in library.items()
        for sample in samples
    ]
    return _sha(listed)


def _sha(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _is_audio(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _sample(path: Path) -> Sample:
    info = audio.probe(path)
    return Sample(path, info.rate, info.length, tempo_in_name(path.stem))
