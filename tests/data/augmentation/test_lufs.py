from __future__ import annotations

import math

import pytest
import torch
import torchaudio

from tfswa_unet.data.augmentation.levels import lufs


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_it_agrees_with_torchaudio(rate):
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(2, 3, 2, 2 * rate, generator=generator)
    waveform[0, 1, :, rate // 2 :] *= 0.003  # the gate leaves these blocks out
    waveform[1, 2] *= torch.linspace(0, 1, 2 * rate)
    found = lufs(waveform, rate)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, torchaudio.functional.loudness(waveform, rate), atol=0.01, rtol=0)


def test_a_sine_at_full_scale_in_one_channel_is_minus_three():
    """The Recommendation calibrates with 997 Hz, −3.01 LKFS; its curve is met within 0.05 dB there."""
    t = torch.arange(96_000, dtype=torch.float64) / 48_000
    sine = torch.sin(2 * math.pi * 997 * t).float()[None]
    assert lufs(sine, 48_000).item() == pytest.approx(-3.01, abs=0.05)


def test_silence_has_no_loudness_and_short_sounds_have_one():
    assert lufs(torch.zeros(2, 1, 20_000), 44_100).tolist() == [-math.inf] * 2
    short = torch.randn(1, 1_000, generator=torch.Generator().manual_seed(0))
    assert lufs(0.1 * short, 44_100).isfinite()
