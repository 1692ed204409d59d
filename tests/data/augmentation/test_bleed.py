from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError


def test_each_stem_receives_the_others_at_a_level_in_range(stems, generator):
    result = strong("bleed", p=1.0, low=-30, high=-10, generator=generator).train()(stems)
    others = torch.stack([stems[:, [j for j in range(3) if j != i]].sum(1) for i in range(3)], 1)
    added = result - stems
    share = (added * others).sum((-2, -1)) / others.square().sum((-2, -1))
    torch.testing.assert_close(added, others * share[..., None, None], atol=1e-6, rtol=0)
    decibels = 20 * torch.log10(share)
    assert decibels.min() >= -30.01
    assert decibels.max() <= -9.99
    assert decibels.unique().numel() == 12


def test_a_stem_of_its_own_stays(stems):
    alone = stems[:, :1]
    torch.testing.assert_close(strong("bleed", p=1.0, low=0, high=0).train()(alone), alone)


def test_more_than_all_is_refused():
    with pytest.raises(ConfigError, match=r"high of augmentation Bleed is 3, .* from -40 to 0"):
        strong("bleed", high=3)
