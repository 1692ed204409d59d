"""Small made-up stems and tracks."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from tfswa_unet.types import Source, Track

RATE = 8000


def noise(seed: int, seconds: float, level: float = 0.1, rate: int = RATE) -> np.ndarray:
    """Stereo noise (c, t) with a slow rise and fall, so that windows differ."""
    t = round(seconds * rate)
    swell = 0.6 + 0.4 * np.sin(np.arange(t) / rate * 2.1 + seed)
    return (level * swell * np.random.default_rng(seed).standard_normal((2, t))).astype(np.float32)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_track(tmp_path):
    """Write stems (c, t) as files and give the track."""

    def make(name: str, stems: dict[str, np.ndarray], rate: int = RATE) -> Track:
        sources = {}
        for stem, audio in stems.items():
            path = tmp_path / "data" / name / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, audio.T, rate, subtype="FLOAT")
            sources[stem] = Source(path)
        length = next(iter(stems.values())).shape[1]
        return Track(name, "test", rate, length, sources)

    return make
