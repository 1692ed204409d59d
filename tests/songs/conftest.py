"""Loops with a beat, and a library of them."""

from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.songs import synthesize

SEEDS = range(8)
SECONDS = 8.0


def beat(bpm: float, beats: int, rate: int, seed: int = 0) -> np.ndarray:
    """Noise hits on every eighth, those on the beat louder, (1, t)."""
    rng = np.random.default_rng(seed)
    audio = np.zeros(round(beats * 60 / bpm * rate), np.float32)
    for eighth in range(2 * beats):
        start = round(eighth * 30 / bpm * rate)
        length = min(len(audio) - start, rate // 11)
        hit = 0.3 * np.exp(-np.arange(length) / (rate / 70)) * rng.standard_normal(length)
        audio[start : start + length] += hit * (1 if eighth % 2 == 0 else 0.4)
    return audio[None]


def tone(frequency: float, seconds: float, rate: int) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate, dtype=np.float32)[None]


@pytest.fixture
def library(tmp_path, write_wav):
    """Three samples a stem, two octaves a stem: what is heard tells which sample it is."""
    root = tmp_path / "samples"
    for k, stem in enumerate(("vocals", "drums", "bass", "other")):
        for i in range(3):
            write_wav(root / stem / f"{stem} {i} 120bpm.wav", tone(100 * 2 ** (2 * k + i / 2), 1, 22_050), 22_050)
    return root


@pytest.fixture(scope="session")
def songs():
    """Eight synthetic songs of 8 s."""
    return [synthesize(seed, SECONDS) for seed in SEEDS]
