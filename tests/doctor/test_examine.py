from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.doctor.conftest import write
from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor import examine as examining
from tfswa_unet.doctor.examine import examine
from tfswa_unet.types import Source


def song(folder, **stems):
    for name, x in stems.items():
        write(folder / f"{name}.wav", x.astype(np.float32))
    sources = {name: Source(folder / f"{name}.wav") for name in stems if name != "mixture"}
    return Song("song", "train", sources, Source(folder / "mixture.wav") if "mixture" in stems else None)


def test_the_sum_is_compared_in_decibels_over_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(examining, "BLOCK", 700)
    rng = np.random.default_rng(0)
    a, b, noise = rng.uniform(-0.2, 0.2, (3, 2, 5_000))
    mixture = 0.7 * (a + b) + 0.01 * noise
    facts = examine(song(tmp_path, a=a, b=b, mixture=mixture)).sum
    total = a + b
    gain = (mixture * total).sum() / np.square(total).sum()
    energy = np.square(mixture).sum()
    assert facts.residual == pytest.approx(10 * np.log10(np.square(mixture - total).sum() / energy), abs=1e-3)
    assert facts.gain == pytest.approx(20 * np.log10(gain), abs=1e-3)
    at_gain = 10 * np.log10(np.square(mixture - gain * total).sum() / energy)
    assert facts.residual_at_gain == pytest.approx(at_gain, abs=1e-2)


def test_mono_stems_add_to_a_stereo_mixture(tmp_path):
    rng = np.random.default_rng(0)
    mono, stereo = rng.uniform(-0.2, 0.2, (1, 500)), rng.uniform(-0.2, 0.2, (2, 500))
    assert examine(song(tmp_path, a=mono, b=stereo, mixture=mono + stereo)).sum.residual < -100


def test_no_sum_without_a_mixture_or_where_the_files_do_not_fit(tmp_path):
    x = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 500))
    assert examine(song(tmp_path, a=x)).sum is None
    assert examine(song(tmp_path, a=x, mixture=x[:, :400])).sum is None
    assert examine(song(tmp_path, a=x, mixture=x[:1])).sum is None
    assert examine(song(tmp_path, a=x, mixture=0 * x)).sum is None


def test_memory_does_not_grow_with_the_song(tmp_path, monkeypatch):
    monkeypatch.setattr(examining, "BLOCK", 8_192)
    peaks = []
    for blocks in (10, 80):
        x = np.random.default_rng(0).uniform(-0.2, 0.2, (2, blocks * 8_192))
        made = song(tmp_path / str(blocks), a=x, b=x, mixture=2 * x)
        tracemalloc.start()
        examine(made)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < x.astype(np.float32).nbytes
