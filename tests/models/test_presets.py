import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tfswa_unet import models
from tfswa_unet.errors import ConfigError


def _millions(name):
    with torch.device("meta"):  # without memory for its weights
        model = models.build(models.preset(name))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def _operations(values, seconds):
    model = models.build(values).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, model.channels, seconds * model.rate))
    return counter.get_total_flops()


def test_tfswa_classic_has_the_published_size():
    assert _millions("tfswa_classic") == pytest.approx(15.4, rel=0.1)


def test_tfswa_classic_is_the_published_plan():
    network = models.preset("tfswa_classic")["network"]
    assert network["widths"] == [32, 64, 128, 256]  # the last is the bottleneck's
    assert network["depths"] == [2, 2, 6, 2]
    assert (network["convolutions"], network["arrangement"]) == ([], "parallel")


def _of_attention(name, seconds):
    """Share of a network's operations that its TFSWA blocks take."""
    values = models.preset(name)
    without = {**values, "network": {**values["network"], "depths": [0] * len(values["network"]["depths"])}}
    return 1 - _operations(without, seconds) / _operations(values, seconds)


def test_attention_of_tfswa_base_costs_under_a_tenth():
    assert 0 < _of_attention("tfswa_base", 6) < 0.1


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
    assert _operations(models.preset("tfswa_mobile"), seconds) < _operations(models.preset("tfswa_tiny"), seconds) / 2
