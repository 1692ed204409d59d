from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tests.doctor.conftest import write
from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor import examine as examining
from tfswa_unet.doctor.examine import FileGauge, examine
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


def measured(x, rate, size):
    gauge = FileGauge(rate, len(x))
    for start in range(0, x.shape[1], size):
        gauge.show(x[:, start : start + size])
    return gauge.facts("float")


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
def test_the_envelope_is_the_rms_of_tenths_of_a_second(rate):
    x = np.random.default_rng(0).uniform(-1, 1, (2, 2 * rate + 77)).astype(np.float32)
    slope = np.diff(x, prepend=0)
    numbers = np.arange(x.shape[1]) * 10 // rate
    expected = [[np.sqrt(np.square(part[:, numbers == n]).mean()) for n in np.unique(numbers)] for part in (x, slope)]
    np.testing.assert_allclose(measured(x, rate, 1_000).envelope, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 4_096])
def test_blocks_of_any_size_show_the_same(size):
    rng = np.random.default_rng(1)
    x = rng.uniform(-0.5, 0.5, (2, 2_500)).astype(np.float32)
    x[0, 98:103] = x[1, 700:703] = 1
    x[1, 1_400:1_402] = -1
    x[0, 2_000] = np.nan
    whole, parts = measured(x, 8_000, 2_500), measured(x, 8_000, size)
    assert (parts.clipped, parts.first_clipped) == (whole.clipped, whole.first_clipped) == (2, 98)
    assert (parts.nonfinite, parts.first_nonfinite) == (1, 2_000)
    assert (parts.length, parts.digest) == (2_500, whole.digest)
    assert parts.offset == pytest.approx(whole.offset)
    np.testing.assert_allclose(parts.envelope, whole.envelope, rtol=1e-5)


def test_the_offset_is_that_of_the_worst_channel():
    x = np.stack([np.full(100, 0.1), np.full(100, -0.3)]).astype(np.float32)
    assert measured(x, 8_000, 30).offset == pytest.approx(-0.3)


def test_the_digest_depends_on_samples_rate_and_channels_only():
    x = np.random.default_rng(2).uniform(-1, 1, (1, 500)).astype(np.float32)
    assert measured(x, 8_000, 500).digest == measured(x.copy(), 8_000, 500).digest
    others = [(x * 0.5, 8_000), (x, 16_000), (np.concatenate([x, x]), 8_000)]
    assert all(measured(y, rate, 500).digest != measured(x, 8_000, 500).digest for y, rate in others)
    assert measured(0 * x, 8_000, 500).digest == measured(-0.0 * x, 8_000, 500).digest
