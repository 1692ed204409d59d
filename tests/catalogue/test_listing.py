import pytest

from tfswa_unet import models
from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.catalogue import listed, listing
from tfswa_unet.errors import ModelError


@pytest.fixture(autouse=True)
def _few_presets(monkeypatch):
    monkeypatch.setattr(listing.models, "names", lambda: ["tfswa_mobile", "tfswa_tiny"])
    monkeypatch.setattr(listing, "cached", dict)


def test_trained_models_come_before_presets_with_what_their_facts_say(write, model):
    path = write(half=True)
    write(DEFAULT_MODEL, {}, None)
    guitars, default, *presets = listed()
    assert (guitars.name, guitars.kind, guitars.default) == ("guitars", "trained", False)
    assert guitars.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert guitars.megabytes == round(path.stat().st_size / 1e6, 1)
    assert (guitars.stems, guitars.validation_sdr, guitars.test_sdr) == (model.stems, 6.543, 3.5)
    assert (guitars.sources, guitars.licences) == (3, ("CC0", "CC BY 4.0"))
    assert (default.default, default.validation_sdr, default.sources, default.licences) == (True, None, None, ())
    assert [preset.name for preset in presets] == ["tfswa_mobile", "tfswa_tiny"]


def test_a_preset_is_counted_without_weights(write):
    mobile, _ = listed()
    parameters = sum(parameter.numel() for parameter in models.build(models.preset("tfswa_mobile")).parameters())
    assert (mobile.kind, mobile.parameters, mobile.megabytes) == ("preset", parameters, round(parameters * 4e-6, 1))
    assert (mobile.default, mobile.validation_sdr, mobile.sources) == (False, None, None)


def test_a_damaged_model_of_the_package_is_named(write):
    path = write()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"guitars\.safetensors is not a whole safetensors file"):
        listed()
