from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from tfswa_unet.data.augmentation.pitch import fit, stretch

RATE = 16_000


def sine(frequency: float, length: int = 2 * RATE) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64) / RATE).float()[None]


def frequency(waveform: torch.Tensor) -> float:
    """Peak of the spectrum of the middle, refined by its instantaneous phase (scipy's analytic signal)."""
    middle = waveform.numpy()[len(waveform) // 4 : -len(waveform) // 4].astype(np.float64)
    phase = np.unwrap(np.angle(scipy.signal.hilbert(middle)))[200:-200]
    return float(np.polyfit(np.arange(len(phase)), phase, 1)[0] * RATE / (2 * np.pi))


@pytest.mark.parametrize("rate", [0.9, 0.97, 1.04, 1.1])
def test_a_stretched_sine_keeps_its_frequency_and_level(rate):
    result = stretch(sine(1_010), rate)[0]
    assert len(result) == round(2 * RATE / rate)
    assert frequency(result) == pytest.approx(1_010, abs=0.5)
    middle = result[4_000:-4_000]
    assert middle.square().mean().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_clicks_come_at_the_new_tempo(rate):
    clicks = torch.zeros(1, 4 * RATE)
    places = torch.arange(1, 8) * RATE // 2
    clicks[0, places] = 1
    envelope = stretch(clicks, rate, n_fft=512, hop=128)[0].abs().numpy()
    found, _ = scipy.signal.find_peaks(envelope, height=0.2, distance=RATE // 4)
    np.testing.assert_allclose(found, places.numpy() / rate, atol=150)


def test_a_rate_of_one_gives_back_the_input():
    waveform = torch.randn(2, 2, 9_001, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stretch(waveform, 1.0), waveform, atol=1e-5, rtol=0)


def test_channels_in_opposite_phase_stay_in_opposite_phase():
    left = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    result = stretch(torch.cat([left, -0.5 * left]), 0.93)
    torch.testing.assert_close(result[1], -0.5 * result[0], atol=1e-5, rtol=0)
    assert result.square().mean() > 0.1


def test_the_phase_between_the_channels_of_a_sine_stays():
    quarter = RATE // 1_000 // 4
    stereo = torch.cat([sine(1_000), sine(1_000).roll(quarter, -1)])
    left, right = stretch(stereo, 1.07)[:, 4_000:-4_000]
    torch.testing.assert_close(right[quarter:], left[:-quarter], atol=0.02, rtol=0)


def test_the_stereo_image_turns_with_the_channels():
    """Middle and side of the stretched signal are the stretched middle and side, whatever plays left and right."""
    stereo = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    rotation = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    torch.testing.assert_close(stretch(rotation @ stereo, 0.93), rotation @ stretch(stereo, 0.93), atol=1e-3, rtol=0)


def test_leading_axes_are_treated_alone():
    waveform = torch.randn(2, 3, 2, 6_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stretch(waveform, 0.95)[1, 2], stretch(waveform[1, 2], 0.95))


def test_what_follows_silence_is_not_lost():
    waveform = torch.cat([torch.zeros(1, RATE), sine(1_000, RATE)], -1)
    late = stretch(waveform, 1.1)[0, RATE:-2_000]
    assert late.square().mean().item() == pytest.approx(0.5, rel=0.03)


def test_fit_cuts_and_fills():
    assert fit(torch.arange(5), 3).tolist() == [0, 1, 2]
    assert fit(torch.arange(2), 4).tolist() == [0, 1, 0, 0]
