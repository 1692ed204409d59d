"""Every preset gives any list of stems, for mono and stereo of any length."""

import pytest
import torch

from tfswa_unet import models
from tfswa_unet.errors import ConfigError
from tfswa_unet.types import STEMS

HEADS = [
    ("vocals",),
    ("vocals", "rest"),
    STEMS,
    ("kick", "snare", "piano", "guitar", "rest"),
]
NARROW = {
    "convolutions": [8] * 4,
    "widths": [8] * 4,
    "depths": [1] * 4,
    "mlp_ratios": [1] * 4,
    "detail": 4,
    "head_width": 8,
    "window": [4, 4],
}
SMALLER = {
    "tfswa_unet": NARROW,
    "tfswa_multiscale": NARROW,
    "tfswa_realtime": {"convolutions": [4] * 4, "width": 8, "head_width": 8, "past": 9, "window": [4, 4]},
    "tfswa_resunet": {"widths": [4, 8], "rcms": 1, "depth": 1, "heads": 2},
}


def smaller(name, stems, **changes):
    """A preset with its features, masks and stages, but few and narrow blocks and short windows."""
    values = models.preset(name, stems)
    network = values["network"]
    cut = {
        key: value[: len(network[key])] if isinstance(value, list) else value
        for key, value in SMALLER[values["architecture"]].items()
        if network[key] is not None
    }
    chain = {"n_fft": 64 * values["subbands"], "hop": 64}
    sums = {"sums_to_mixture": values["sums_to_mixture"] and "rest" in stems}
    return models.build({**values, **chain, **sums, **changes, "network": {**network, **cut}})


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("stems", HEADS, ids=lambda stems: str(len(stems)))
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_and_channels(name, stems, channels):
    model = smaller(name, stems, channels=channels).eval()
    with torch.inference_mode():
        for length in (1, 777, 2_049):
            given = model(torch.randn(2, channels, length))
            assert given.shape == (2, len(stems), channels, length)
            assert torch.isfinite(given).all()
    assert model.stems == stems
    assert models.build(model.config).stems == stems


@pytest.mark.parametrize("name", models.names())
def test_each_stem_and_channel_has_an_output_of_its_own(name):
    """Heads that repeat one output for several stems or channels would pass every test of shape."""
    torch.manual_seed(0)
    model = smaller(name, HEADS[-1]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    with torch.inference_mode():
        given = model(torch.randn(1, 1, 3_001).expand(1, 2, -1)).flatten(0, 2)
    for i in range(len(given)):
        for j in range(i):
            assert (given[i] - given[j]).abs().max() > 1e-3 * given.abs().max(), (i, j)


@pytest.mark.parametrize("name", models.names())
def test_presets_at_their_own_size(name):
    model = models.build(models.preset(name, ("vocals", "rest"))).eval()
    with torch.inference_mode():
        given = model(torch.randn(1, 2, 4_001))
    assert given.shape == (1, 2, 2, 4_001)
    assert torch.isfinite(given).all()


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("mask", ["softmax", "sigmoid"])
def test_a_temperature_divides_the_logits(name, mask):
    model = smaller(name, ("vocals", "rest"), mask=mask, sums_to_mixture=False).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # attention begins as nothing, biases as zero
    logits = []
    model.network.register_forward_hook(lambda module, given, output: logits.append(output))
    mixture = torch.randn(1, 2, 4_000)
    with torch.inference_mode():
        model(mixture)
        model.soften(2.5)
        model(mixture)
    before, after = logits
    torch.testing.assert_close(after, before / 2.5, rtol=1e-4, atol=1e-5)


def test_temperatures_that_cannot_be():
    model = smaller("tfswa_tiny", ("vocals", "rest"))
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"the temperature is .*, expected a number above 0"):
            model.soften(temperature)
    model = smaller("tfswa_tiny", ("vocals", "rest"), mask="complex", sums_to_mixture=False)
    with pytest.raises(ConfigError, match="has complex masks, and those of the kinds softmax and sigmoid alone have a"):
        model.soften(2)
