import math

import pytest
import torch

from tests.models.conftest import awake
from tfswa_unet import models
from tfswa_unet.dsp import MASKS, mask
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.types import STEMS

SMALL = {
    "widths": [8, 16],
    "depths": [2, 1],
    "mlp_ratios": [2, 2],
    "convolutions": [],
    "detail": 4,
    "patch": [2, 2],
    "window": [4, 4],
    "head_width": 8,
    "rotary": True,
    "frequency_embedding": True,
    "arrangement": "parallel",
    "norm": "layer",
}


def small(stems=STEMS, **changes):
    """A model of the base preset's form, small enough for a test."""
    network = {**SMALL, **changes.pop("network", {})}
    base = models.preset("tfswa_base", tuple(stems))
    return models.build({**base, "n_fft": 128, "hop": 32, "subbands": 4, **changes, "network": network})


@pytest.mark.parametrize("length", [1, 31, 1_000, 4_097])
@pytest.mark.parametrize("mask", MASKS)
def test_any_length_and_mask(length, mask):
    model = small(mask=mask)
    stems = model(torch.randn(2, 2, length))
    assert stems.shape == (2, 4, 2, length)
    assert torch.isfinite(stems).all()


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_stems_are_the_same_in_real_numbers(mask, sums):
    model = awake(small(mask=mask, sums_to_mixture=sums, features="both", compression=100.0)).eval()
    real = model.in_real_numbers()
    assert not any(parameter.requires_grad for parameter in real.parameters())
    assert real.state_dict().keys() == model.state_dict().keys()
    for length in (1, 129, 4_097):
        mixture = torch.randn(2, 2, length) * torch.tensor([1.0, 0.0])[:, None, None]
        stems = model(mixture)
        assert (real(mixture) - stems).norm() < 1e-5 * stems.norm()
    assert not real(mixture)[1].any()


def test_stems_sum_to_the_mixture():
    mixture = torch.randn(1, 2, 3_000)
    assert torch.allclose(small()(mixture).sum(1), mixture, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stems", [("vocals",), ("vocals", "rest"), ("a", "b", "c", "d", "e")])
@pytest.mark.parametrize("features", ["complex", "magnitude", "both"])
def test_channels_stems_and_features(channels, stems, features):
    model = small(stems, channels=channels, features=features, sums_to_mixture=False)
    assert model(torch.randn(2, channels, 500)).shape == (2, len(stems), channels, 500)
    assert model.stems == stems


def test_a_mask_of_ones_own_is_one_decorated_function(monkeypatch):
    monkeypatch.setattr(MASKS, "_kinds", dict(MASKS))  # forgets the mask after the test

    @mask("tanh", maps=2)
    def tanh(maps, mixture, scale):
        """A ratio to the mixture whose real and imaginary parts lie between −1 and 1."""
        return torch.complex(*maps.tanh().unbind(3)) * mixture[:, None]

    torch.manual_seed(0)
    model, loss = small(("vocals", "rest"), mask="tanh"), WeightedLoss({"waveform_l1": {"weight": 1.0}})
    optimizer, stems = torch.optim.Adam(model.parameters(), lr=1e-2), torch.randn(1, 2, 2, 1_000)
    assert torch.allclose(model(stems.sum(1)).sum(1), stems.sum(1), atol=1e-5)
    losses = []
    for step in range(4):
        total, parts = objective(model, loss, stems, step)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(parts["waveform_l1"].item())
    assert losses[-1] < losses[0]


def test_silence_gives_silence():
    assert not small()(torch.zeros(1, 2, 2_000)).any()


def test_level_of_the_input_does_not_matter():
    model, mixture = small(), torch.randn(1, 2, 2_000)
    assert torch.allclose(model(0.01 * mixture), 0.01 * model(mixture), atol=1e-6)


@pytest.mark.parametrize("compression", [0, 1, 1000])
def test_network_sees_magnitudes_as_they_are_or_by_their_logarithm(compression):
    model, seen = small(channels=1, subbands=1, compression=compression), []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mixture = torch.randn(1, 1, 2_000)
    model(mixture)
    window = torch.hann_window(128)
    spectrum = torch.stft(mixture[0] / mixture.square().mean().sqrt(), 128, 32, 128, window, pad_mode="constant",
                          return_complex=True)  # fmt: skip
    expected = spectrum.abs().mT[None, :, :, :-1] * (2 / 128**0.5)
    if compression:
        expected = ((1 + compression * expected).log() / math.log(1 + compression) - 0.5) * 4
    assert torch.allclose(seen[0], expected, atol=1e-4)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = awake(small())
    model(torch.randn(2, 2, 2_500)).square().mul(torch.rand(2, 4, 2, 2_500)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    model, mixture = small(), torch.randn(1, 2, 2_000)
    gradients = []
    for checkpointing in (False, True):
        model.network.checkpointing = checkpointing
        model.zero_grad()
        model(mixture).abs().pow(1.5).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, atol=1e-5)


def test_built_again_from_its_config():
    model = small()
    again = models.build(model.config)
    again.load_state_dict(model.state_dict())
    mixture = torch.randn(1, 2, 1_000)
    assert torch.equal(again(mixture), model(mixture))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hopp": 3}, r"unknown key model\.hopp \(did you mean hop\?\)"),
        ({"features": "phase"}, r"unknown model\.features 'phase'"),
        ({"architecture": "unet"}, r"unknown model\.architecture 'unet'"),
        ({"subbands": 5}, r"model\.subbands=5 must divide n_fft / 2 = 64"),
        ({"hop": 100}, r"model\.hop=100 must lie between 1 and half of model\.n_fft=128"),
        ({"stems": []}, r"at least one stem"),
        ({"network": {"head_width": 3}}, r"model\.network\.head_width=3 must be even and divide every width, got 8"),
        ({"network": {"depths": [1]}}, r"one entry a stage each, got 2, 1 and 2"),
        ({"network": {"patch": [2, 64]}}, r"16 bins cannot be cut into tokens of 64"),
    ],
)
def test_impossible_values(changes, message):
    stems = changes.pop("stems", ("vocals",))
    with pytest.raises(ConfigError, match=message):
        small(stems, **changes)


def test_convolutions_in_place_of_patches():
    network = {"convolutions": [4, 6], "patch": None, "detail": None}
    model = small(network=network)
    assert model.network.frame_multiple == 8
    assert model(torch.randn(2, 2, 1_001)).shape == (2, 4, 2, 1_001)
    with pytest.raises(ConfigError, match=r"takes either convolutions, with patch=null detail=null, or"):
        small(network={**network, "patch": [2, 2]})


def test_the_network_compiles_as_one_graph():
    """Without complex numbers and without breaks, in training too; traced only, which needs no C++ compiler."""
    torch.manual_seed(0)
    model = awake(small())
    maps = torch.randn(1, model.model_config.maps_in, 16, model.model_config.bins)
    compiled = torch.compile(model.network, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(maps), model.network(maps), atol=1e-5)
