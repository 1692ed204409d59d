from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError


def test_each_stem_is_scaled_by_one_factor_in_range(stems, generator):
    result = strong("gain", p=1.0, low=0.7, high=1.3, generator=generator).train()(stems)
    factors = (result * stems).sum((-1, -2)) / stems.square().sum((-1, -2))
    torch.testing.assert_close(result, stems * factors[..., None, None])
    assert factors.unique().numel() == factors.numel()
    assert factors.min() >= 0.7
    assert factors.max() <= 1.3


def test_the_range_is_filled_evenly(generator):
    factors = (
        strong("gain", p=1.0, low=0.7, high=1.3, generator=generator).train()(torch.ones(2_000, 1, 1, 1)).flatten()
    )
    assert torch.histc(factors, 6, 0.7, 1.3).min() > 250
    assert factors.mean().item() == pytest.approx(1, abs=0.02)


def test_high_below_low_is_refused():
    with pytest.raises(ConfigError, match=r"high of augmentation Gain is 0\.5, expected a number from 0\.7"):
        strong("gain", low=0.7, high=0.5)
