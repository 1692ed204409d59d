import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tfswa_unet import models
from tfswa_unet.errors import ConfigError


def _millions(name):
    with torch.device("meta"):  # without memory for its weights
        model = models.build(models.preset(name))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def _operations(name, seconds):
    model = models.build(models.preset(name)).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, model.channels, seconds * model.rate))
    return counter.get_total_flops()


def test_tfswa_base_has_the_published_size():
    assert _millions("tfswa_base") == pytest.approx(15.4, rel=0.1)


def test_sizes_are_in_order():
    sizes = [_millions(name) for name in ("tfswa_tiny", "tfswa_small", "tfswa_base", "tfswa_large")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", models.names())
def test_every_preset_names_itself(name):
    assert models.preset(name)["name"] == name


def test_unknown_name_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown model 'tfswa_bass' \(did you mean tfswa_base\?\): expected one of"):
        models.preset("tfswa_bass")


def test_tfswa_mobile_is_small():
    assert _millions("tfswa_mobile") <= 1.5


@pytest.mark.parametrize("seconds", [1, 2])
def test_tfswa_mobile_costs_less_than_half_of_tiny(seconds):
    assert _operations("tfswa_mobile", seconds) < _operations("tfswa_tiny", seconds) / 2
