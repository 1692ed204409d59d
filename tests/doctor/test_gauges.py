from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.doctor.examine import FileGauge


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
    assert (parts.length, parts.peak, parts.digest) == (2_500, 1.0, parts.digest)
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
