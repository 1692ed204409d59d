import pytest

from tfswa_unet import models
from tfswa_unet.errors import ConfigError


def _millions(name):
    return sum(parameter.numel() for parameter in models.build(models.preset(name)).parameters()) / 1e6


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
