from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from tests.data.augmentation.conftest import strong


def sources(p: float, count: int = 40, stems: int = 3) -> torch.Tensor:
    """Which example each stem (b, s) of the result came from; checks that it stayed in its own row of stems."""
    numbered = torch.arange(count * stems, dtype=torch.float32).view(count, stems, 1, 1).expand(-1, -1, 2, 5)
    generator = torch.Generator().manual_seed(4)
    result = strong("remix", p=p, generator=generator).train()(numbered.contiguous())
    assert (result == result[..., :1, :1]).all()
    number = result[..., 0, 0].long()
    assert torch.equal(number % stems, torch.arange(stems).expand(count, -1))
    return number // stems


def test_every_stem_is_permuted_by_itself_and_none_is_lost():
    found = sources(p=1.0)
    for row in found.T:
        assert torch.equal(row.sort().values, torch.arange(40))
    assert len(found.T.unique(dim=0)) == 3
    assert (found == torch.arange(40)[:, None]).float().mean() < 0.15


def test_only_the_chosen_examples_change_places():
    found = sources(p=0.4)
    moved = (found != torch.arange(40)[:, None]).any(1)
    assert 6 <= moved.sum() <= 28
    for row in found.T:
        assert torch.equal(row[moved].sort().values, moved.nonzero().flatten())


def test_a_batch_of_one_stays(stems):
    assert torch.equal(strong("remix", p=1.0).train()(stems[:1]), stems[:1])
    torch.testing.assert_close(strong("mixup", p=1.0).train()(stems[:1]), stems[:1])


def weights(count: int, alpha: float) -> torch.Tensor:
    """λ of each example, read off one-hot examples; checks that each row is λ of its own and 1 − λ of one other."""
    one_hot = torch.eye(count).view(count, 1, 1, count)
    torch.manual_seed(0)
    rows = strong("mixup", p=1.0, alpha=alpha).train()(one_hot).view(count, count)
    torch.testing.assert_close(rows.sum(1), torch.ones(count))
    assert ((rows > 0).sum(1) <= 2).all()
    return rows.diagonal()


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_lambda_follows_the_beta_distribution(alpha):
    found = weights(800, alpha).double().numpy()
    assert scipy.stats.kstest(found, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert np.ptp(found) > 0.5


def test_all_stems_of_an_example_blend_with_the_same_partner_and_weight(stems):
    torch.manual_seed(4)
    apart = strong("mixup", p=1.0).train()(stems).sum(1)
    torch.manual_seed(4)
    mixed = strong("mixup", p=1.0).train()(stems.sum(1, keepdim=True))[:, 0]
    torch.testing.assert_close(apart, mixed, atol=1e-6, rtol=0)


def test_bleed_adds_the_others_to_each_stem_at_a_level_in_range(stems, generator):
    result = strong("bleed", p=1.0, low=-30, high=-10, generator=generator).train()(stems)
    others = torch.stack([stems[:, [j for j in range(3) if j != i]].sum(1) for i in range(3)], 1)
    added = result - stems
    share = (added * others).sum((-2, -1)) / others.square().sum((-2, -1))
    torch.testing.assert_close(added, others * share[..., None, None], atol=1e-6, rtol=0)
    decibels = 20 * torch.log10(share)
    assert decibels.min() >= -30.01
    assert decibels.max() <= -9.99
    assert decibels.unique().numel() == 12


def test_bleed_leaves_a_stem_of_its_own_as_it_is(stems):
    alone = stems[:, :1]
    torch.testing.assert_close(strong("bleed", p=1.0, low=0, high=0).train()(alone), alone)
