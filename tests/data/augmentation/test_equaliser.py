from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from tests.data.augmentation.conftest import strong
from tests.data.augmentation.test_filters import cookbook
from tfswa_unet.errors import ConfigError

RATE = 44_100


def gains(stems: torch.Tensor, result: torch.Tensor, frequency: float) -> torch.Tensor:
    """dB by which a tone of `frequency` has changed in each (…, t)."""
    tone = torch.exp(-2j * math.pi * frequency / RATE * torch.arange(stems.shape[-1], dtype=torch.float64))
    middle = slice(RATE // 5, -RATE // 5)
    levels = [(x.double()[..., middle] * tone[middle]).sum(-1).abs() for x in (stems, result)]
    return 20 * torch.log10(levels[1] / levels[0])


def test_tones_change_as_the_biquad_of_one_of_three_kinds_says(generator):
    """Centre and Q are given; the drawn gain is read at the centre, or at the shelf's far end."""
    tones = [50.0, 300.0, 1_000.0, 2_500.0, 20_000.0]
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = sum(0.1 * torch.sin(2 * math.pi * f * t) for f in tones).float()
    stems = tone.expand(12, 1, 2, -1).contiguous()
    augmentation = strong(
        "eq", p=1.0, bands=1, gain=9, low=1_000, high=1_000, q_low=0.7, q_high=0.7, generator=generator
    )
    result = augmentation.train()(stems)
    assert torch.equal(result[:, :, 0], result[:, :, 1])
    found = torch.stack([gains(stems, result, f)[:, 0, 0] for f in tones], -1).numpy()
    kinds = []
    for row in found:
        errors = {}
        for kind, gain in (("peaking", row[2]), ("low_shelf", row[0]), ("high_shelf", row[4])):
            _, curve = scipy.signal.freqz(*cookbook(kind, gain, 0.7, 1_000), worN=tones, fs=RATE)
            errors[kind] = np.abs(20 * np.log10(np.abs(curve)) - row).max()
        kinds.append(min(errors, key=errors.get))
        assert errors[kinds[-1]] < 0.1
        assert np.abs(row).max() < 9.05
    assert set(kinds) == {"peaking", "low_shelf", "high_shelf"}
    assert (found.max(1) > 1).any()
    assert (found.min(1) < -1).any()


def test_centres_are_spread_evenly_over_octaves_and_bands_are_in_a_row(generator):
    augmentation = strong("eq", bands=4, low=100, high=6_400, q_low=0.5, q_high=2, generator=generator)
    sections, centres = augmentation._filters(1_000)
    assert sections.shape == (4, 1_000, 2, 3)
    octaves = torch.histc(torch.log2(centres / 100), 6, 0, 6)
    assert octaves.min() > 550
    assert octaves.sum() == 4_000
    assert len(sections[:, 0].flatten(1).unique(dim=0)) == 4


def test_what_rings_does_not_come_back_at_the_start(generator):
    """The narrowest, lowest and strongest band: an impulse at the end leaves the start silent."""
    late = torch.zeros(8, 1, 1, RATE)
    late[..., -1] = 1
    augmentation = strong("eq", p=1.0, bands=1, gain=6, low=60, high=60, q_low=2, q_high=2, generator=generator)
    assert augmentation.train()(late)[..., : -RATE // 2].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high": 9_000, "rate": 16_000}, r"high of augmentation Equaliser is 9000, .* from 60 to 8000"),
        ({"low": 500, "high": 400}, r"high of augmentation Equaliser is 400, .* from 500 to 22050"),
        ({"q_low": 3}, "q_high of augmentation Equaliser is 2, .* from 3 to 4"),
        ({"bands": 0}, "bands of augmentation Equaliser is 0, .* from 1 to 20"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        strong("eq", **settings)
