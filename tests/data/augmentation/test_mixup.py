from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError


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


def test_a_batch_of_one_stays(stems):
    torch.testing.assert_close(strong("mixup", p=1.0).train()(stems[:1]), stems[:1])


def test_an_alpha_of_zero_is_refused():
    with pytest.raises(ConfigError, match="alpha of augmentation Mixup is 0, expected a number from"):
        strong("mixup", alpha=0)
