from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from tfswa_unet.data.augmentation.effects import (
    fft_size,
    filtered,
    high_pass,
    high_shelf,
    low_shelf,
    peaking,
    response,
)

RATE = 44_100


def cookbook(kind: str, gain: float, q: float, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """Digital coefficients as the Audio EQ Cookbook lists them."""
    a = 10 ** (gain / 40)
    w = 2 * math.pi * centre / RATE
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    root = 2 * math.sqrt(a) * alpha
    if kind == "peaking":
        return np.array([1 + alpha * a, -2 * cos, 1 - alpha * a]), np.array([1 + alpha / a, -2 * cos, 1 - alpha / a])
    if kind == "low_shelf":
        up, down = a + 1, a - 1
        return (
            a * np.array([up - down * cos + root, 2 * (down - up * cos), up - down * cos - root]),
            np.array([up + down * cos + root, -2 * (down + up * cos), up + down * cos - root]),
        )
    if kind == "high_shelf":
        up, down = a + 1, a - 1
        return (
            a * np.array([up + down * cos + root, -2 * (down + up * cos), up + down * cos - root]),
            np.array([up - down * cos + root, 2 * (down - up * cos), up - down * cos - root]),
        )
    return np.array([(1 + cos) / 2, -1 - cos, (1 + cos) / 2]), np.array([1 + alpha, -2 * cos, 1 - alpha])


KINDS = {"peaking": peaking, "low_shelf": low_shelf, "high_shelf": high_shelf, "high_pass": lambda _, q: high_pass(q)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("gain", "q", "centre"), [(6.0, 0.7, 40.0), (-9.0, 2.0, 1_000.0), (3.0, 1.0, 15_000.0)])
def test_a_response_is_that_of_the_cookbooks_biquad(kind, gain, q, centre):
    section = KINDS[kind](torch.tensor(gain), torch.tensor(q))
    found = response(section, torch.tensor(centre), RATE, 8_192).numpy()
    frequencies = np.arange(4_097) * RATE / 8_192
    _, expected = scipy.signal.freqz(*cookbook(kind, gain, q, centre), worN=frequencies, fs=RATE)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_leading_axes_are_filters_of_their_own():
    gain, q = torch.tensor([[6.0, -6.0, 3.0]]), torch.tensor([[0.5, 1.0, 2.0]])
    centre = torch.tensor([[100.0, 1_000.0, 5_000.0]])
    many = response(peaking(gain, q), centre, RATE, 255)
    assert many.shape == (1, 3, 128)
    torch.testing.assert_close(many[0, 1], response(peaking(gain[0, 1], q[0, 1]), centre[0, 1], RATE, 255))


def test_filtering_equals_running_the_biquad_over_the_samples():
    waveform = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(0))
    size = fft_size(20_000)
    curve = response(low_shelf(torch.tensor(6.0), torch.tensor(0.7)), torch.tensor(200.0), RATE, size)
    expected = scipy.signal.lfilter(*cookbook("low_shelf", 6, 0.7, 200), waveform.double().numpy(), axis=-1)
    np.testing.assert_allclose(filtered(waveform, curve, size).numpy(), expected, atol=1e-4)
