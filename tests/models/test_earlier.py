"""Bundles of format 1, written by the program that first had it, with the stems that it separated."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tfswa_unet import bundle
from tfswa_unet.models import as_today, is_earlier

BUNDLES = Path(__file__).parent / "bundles"


@pytest.mark.parametrize("kind", ["parallel", "serial", "resunet"])
def test_a_bundle_of_format_1_separates_as_it_did(kind):
    model = bundle.load_model(BUNDLES / f"{kind}.safetensors")
    mixture = 0.3 * torch.sin(torch.arange(8000.0).view(1, 2, 4000) ** 1.3 / 7)
    expected = load_file(BUNDLES / f"{kind}_stems.safetensors")["stems"].float()
    with torch.no_grad():
        stems, exact = model(mixture), model.double()(mixture.double())
    # The stems are kept in fp16. Where there is next to no mixture its phase, which magnitudes take, is rounding, which
    # differs from processor to processor as much as from fp32 to fp64.
    allowed = 1e-3 * rms(expected) + rms(stems - exact)
    assert rms(stems - expected) < allowed < 1e-2 * rms(expected)


def rms(signal):
    return signal.square().mean().sqrt()


@pytest.mark.parametrize("kind", ["parallel", "serial", "resunet"])
def test_what_is_of_today_stays_as_it_is(kind, tmp_path):
    model = bundle.load_model(BUNDLES / f"{kind}.safetensors")
    weights = model.state_dict()
    config, kept = as_today(model.config, weights)
    assert not is_earlier(weights)
    assert config == model.config
    assert kept.keys() == weights.keys()
    again = bundle.load_model(bundle.save_bundle(tmp_path / "again.safetensors", model))
    assert all(torch.equal(again.state_dict()[name], value) for name, value in weights.items())
