from __future__ import annotations

import pytest
import torch
import torchaudio

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError

RATE = 8_000


def loudness(stems: torch.Tensor) -> torch.Tensor:
    return torchaudio.functional.loudness(stems, RATE)


@pytest.fixture
def uneven(stems):
    """Stems at −40 to +6 dB, a second long."""
    return stems * torch.logspace(-2, 0.3, 12).view(4, 3, 1, 1)


def test_without_a_spread_all_stems_become_as_loud_as_their_mean(uneven):
    result = strong("loudness", p=1.0, spread=0, floor=-70, rate=RATE).train()(uneven)
    expected = loudness(uneven).mean(1, keepdim=True).expand(-1, 3)
    torch.testing.assert_close(loudness(result), expected, atol=0.02, rtol=0)


def test_the_spread_moves_each_by_itself_within_its_range(uneven, generator):
    result = strong("loudness", p=1.0, spread=4, floor=-70, rate=RATE, generator=generator).train()(uneven)
    moved = loudness(result) - loudness(uneven).mean(1, keepdim=True)
    assert moved.abs().max() < 4.05
    assert moved.min() < -1
    assert moved.max() > 1
    assert moved.unique().numel() == 12
    factors = result / uneven
    torch.testing.assert_close(factors, factors[..., :1, :1].expand_as(factors), rtol=1e-4, atol=0)


def test_silent_and_nearly_silent_stems_stay_and_do_not_count(uneven):
    uneven = uneven.clone()
    uneven[1, 0] = 0
    uneven[2, 1] *= 1e-3
    result = strong("loudness", p=1.0, spread=0, rate=RATE).train()(uneven)
    assert torch.equal(result[1, 0], uneven[1, 0])
    assert torch.equal(result[2, 1], uneven[2, 1])
    expected = loudness(uneven[1:2, 1:]).mean()
    torch.testing.assert_close(loudness(result[1:2, 1:]), expected.expand(1, 2), atol=0.02, rtol=0)


def test_the_stems_that_are_not_chosen_count_in_the_mean_and_stay(uneven, generator):
    result = strong("loudness", p=0.5, spread=0, floor=-70, rate=RATE, generator=generator).train()(uneven)
    changed = (result != uneven).flatten(2).any(2)
    assert 2 <= changed.sum() <= 10
    mean = loudness(uneven).mean(1, keepdim=True).expand(-1, 3)
    torch.testing.assert_close(loudness(result)[changed], mean[changed], atol=0.02, rtol=0)


def test_a_negative_spread_is_refused():
    with pytest.raises(ConfigError, match=r"spread of augmentation Loudness is -1, .* from 0 to 40"):
        strong("loudness", spread=-1)
