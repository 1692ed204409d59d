import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tfswa_unet import models


def operations(model, samples):
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, model.channels, samples))
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def mobile():
    return models.build(models.preset("tfswa_mobile")).eval()


def test_it_is_small(mobile):
    assert sum(parameter.numel() for parameter in mobile.parameters()) <= 1.5e6


@pytest.mark.parametrize("seconds", [1, 2])
def test_it_costs_less_than_half_of_tiny(mobile, seconds):
    tiny = models.build(models.preset("tfswa_tiny")).eval()
    assert operations(mobile, seconds * mobile.rate) < operations(tiny, seconds * tiny.rate) / 2
