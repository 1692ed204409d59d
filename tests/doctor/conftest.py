"""A data set without a fault, and a way to look at it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from tfswa_unet.doctor import diagnose

RATE = 8_000
SECONDS = 6
SONGS = {"train": ("a", "b"), "valid": ("v",), "test": ("t",)}


def sound(seed: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Stereo noise whose level changes four times a second, peaks well below full scale."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(0.1, 1, int(4 * seconds)), rate // 4)
    return (0.1 * levels * rng.uniform(-1, 1, (2, len(levels)))).astype(np.float32)


def write(path, audio, rate=RATE, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype=subtype)


@pytest.fixture
def clean(tmp_path):
    """Four songs of two stems and their mixture."""
    root = tmp_path / "songs"
    for number, (split, name) in enumerate((split, name) for split, names in SONGS.items() for name in names):
        vocals, drums = sound(2 * number), sound(2 * number + 1)
        for stem, audio in {"vocals": vocals, "drums": drums, "mixture": vocals + drums}.items():
            write(root / split / name / f"{stem}.wav", audio)
    return root


@pytest.fixture
def found():
    """The findings of a diagnosis, as (severity, check, split/track, stem)."""

    def look(root, **options):
        diagnosis = diagnose(root, workers=1, **options)
        return [(each.severity, each.check, f"{each.split}/{each.track}", each.stem) for each in diagnosis.findings]

    return look
