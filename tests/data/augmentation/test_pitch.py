from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.data.augmentation.pitch import shift
from tfswa_unet.errors import ConfigError

RATE = 16_000


def sines(*frequencies: float) -> torch.Tensor:
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    return torch.stack([torch.sin(2 * math.pi * f * t) for f in frequencies]).float()


def peak(waveform: torch.Tensor) -> float:
    """Frequency of the largest peak, by a zero-padded spectrum."""
    spectrum = np.abs(np.fft.rfft(waveform.numpy() * np.hanning(len(waveform)), 1 << 19))
    return float(spectrum.argmax()) * RATE / (1 << 19)


@pytest.mark.parametrize("semitones", [-2.0, -0.7, 1.0, 2.0])
def test_a_sine_moves_by_the_interval_within_a_cent_and_keeps_length_and_level(semitones):
    result = shift(sines(1_000), semitones)[0]
    assert result.shape == (RATE,)
    cents = 1_200 * math.log2(peak(result) / (1_000 * 2 ** (semitones / 12)))
    assert abs(cents) < 1.5
    assert result[3_000:-3_000].square().mean().item() == pytest.approx(0.5, rel=0.03)


def test_the_tempo_stays():
    burst = torch.zeros(1, RATE)
    burst[0, 8_000:8_800] = sines(2_000)[0, :800]
    energy = shift(burst, 2.0)[0].square()
    centre = (energy * torch.arange(RATE)).sum() / energy.sum()
    assert centre.item() == pytest.approx(8_400, abs=300)


def test_stems_of_an_example_stay_in_tune_and_examples_differ(generator):
    stems = sines(500, 1_000).view(1, 2, 1, -1).repeat(4, 1, 1, 1)
    result = strong("pitch", p=1.0, generator=generator).train()(stems)
    ratios = np.array([[peak(x[0, 0]) / 500, peak(x[1, 0]) / 1_000] for x in result])
    np.testing.assert_allclose(ratios[:, 0], ratios[:, 1], rtol=5e-4)
    assert len(set(ratios[:, 0].round(4))) == 4
    assert (abs(12 * np.log2(ratios)) <= 2.02).all()


def test_apart_every_stem_has_its_own_interval(generator):
    stems = sines(500, 500, 500).view(1, 3, 1, -1)
    result = strong("pitch", p=1.0, together=False, generator=generator).train()(stems)
    assert len({round(peak(x[0]), 1) for x in result[0]}) == 3


def test_an_impossible_interval_is_refused():
    with pytest.raises(ConfigError, match="semitones of augmentation Pitch is 13, expected a number from 0 to 12"):
        strong("pitch", semitones=13)
