import pytest
import torch
from torch import nn

from tests.models.conftest import awake
from tfswa_unet import models
from tfswa_unet.bundle import load_model, save_bundle
from tfswa_unet.errors import ConfigError
from tfswa_unet.nn import Stage
from tfswa_unet.types import STEMS

SIZES = {
    "widths": [8, 16],
    "depths": [2, 1],
    "mlp_ratios": [2, 2],
    "convolutions": [],
    "detail": 4,
    "patch": [4, 4],
    "window": [4, 4],
    "head_width": 8,
    "scales": [0.25, 0.5, 2],
}


# Linear magnitudes, or the windows' leakage would be as visible as the sound; many features for an even projection.
EVEN = {"channels": 1, "compression": 0, "network": {"widths": [64, 64], "detail": 16}}


def small(stems=STEMS, network=None, **changes):
    values = {**models.preset("tfswa_multiscale", stems), "n_fft": 512, "hop": 128, "subbands": 4, **changes}
    return models.build({**values, "network": {**values["network"], **SIZES, **(network or {})}})


def kept_tokens(model, mixture):
    """What is summed into the U for a mixture: its own stem's tokens first, then each stream's."""
    tokens = []
    hooks = [
        model.network.stem.register_forward_hook(lambda _m, _i, output: tokens.append(output[1])),
        *(s.register_forward_hook(lambda _m, _i, output: tokens.append(output)) for s in model.network.streams),
    ]
    with torch.inference_mode():
        model(mixture)
    for hook in hooks:
        hook.remove()
    return tokens


def test_the_preset_sees_three_resolutions_at_patches_of_one_time_and_band():
    model = models.build(models.preset("tfswa_multiscale"))
    resolutions = [(transform.n_fft, transform.hop) for transform in model.transforms]
    assert resolutions == [(2048, 512), (1024, 256), (4096, 1024)]
    side = 2 ** len(model.network.stem.blocks)
    for (n_fft, hop), stream in zip(resolutions[1:], model.network.streams, strict=True):
        frames, bins = stream.stem.patch
        assert frames * hop == side * 512
        assert bins / n_fft == side / 2048


@pytest.mark.parametrize("length", [1, 127, 128, 1_535, 1_536, 4_097])
def test_any_length(length):
    stems = small()(torch.randn(2, 2, length))
    assert stems.shape == (2, 4, 2, length)
    assert torch.isfinite(stems).all()


@pytest.mark.parametrize("row", [0, 3, 6])
def test_an_impulse_moves_the_same_row_of_every_stream(row):
    torch.manual_seed(0)
    model, length = small(**EVEN), 6 * 512 + 300  # 27 frames at the model's resolution, padded to 32
    # Frames are centred: those of a row of four stand at −¼ … ½ of its 512 samples around this sample.
    impulse = torch.zeros(1, 1, length)
    impulse[..., row * 512 + 128] = 1
    moved = [
        (loud - silent).square().sum(dim=(0, 2, 3))
        for loud, silent in zip(kept_tokens(model, impulse), kept_tokens(model, 0 * impulse), strict=True)
    ]
    assert len(moved) == 4
    for change in moved:
        assert change.shape == (8,)
        assert change.argmax() == row


@pytest.mark.parametrize("column", [0, 6, 15])
def test_a_tone_moves_the_same_column_of_every_stream(column):
    torch.manual_seed(0)
    model = small(**EVEN)
    frequency = (4 * column + 1.25) / 512  # cycles a sample: inside a token's four bins in the lowest band
    tone = torch.sin(2 * torch.pi * frequency * torch.arange(8_191.0))[None, None]
    inside = slice(3, -3)  # rows whose windows lie in the signal
    tokens = list(zip(kept_tokens(model, tone), kept_tokens(model, 0 * tone), strict=True))
    assert len(tokens) == 4
    for loud, silent in tokens:
        change = (loud - silent)[:, inside].square().sum(dim=(0, 1, 3))
        assert change.shape == (16,)
        assert change.argmax() == column


@pytest.mark.parametrize("index", range(3))
def test_every_stream_changes_the_output(index):
    model, mixture = awake(small()), torch.randn(1, 2, 3_000)
    with torch.inference_mode():
        whole = model(mixture)
        model.network.streams[index].register_forward_hook(lambda _m, _i, tokens: torch.zeros_like(tokens))
        assert (model(mixture) - whole).abs().max() > 1e-3


def test_without_its_streams_it_is_the_plain_network():
    model, mixture = awake(small()), torch.randn(1, 2, 3_000)
    network = {name: value for name, value in model.config["network"].items() if name != "scales"}
    plain = models.build({**model.config, "architecture": "tfswa_unet", "network": network})
    state = {name: value for name, value in model.state_dict().items() if ".streams." not in name}
    plain.load_state_dict(state)
    for stream in model.network.streams:
        nn.init.zeros_(stream.project.weight)
        nn.init.zeros_(stream.project.bias)
    with torch.inference_mode():
        assert torch.equal(model(mixture), plain(mixture))


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = awake(small())
    model(torch.randn(2, 2, 4_500)).square().mul(torch.rand(2, 4, 2, 4_500)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_silence_gives_silence():
    assert not awake(small())(torch.zeros(1, 2, 2_000)).any()


def test_level_of_the_input_does_not_matter():
    model, mixture = awake(small()), torch.randn(1, 2, 2_000)
    with torch.inference_mode():
        assert torch.allclose(model(0.01 * mixture), 0.01 * model(mixture), atol=1e-5)


def test_features_have_the_same_level_at_every_resolution():
    torch.manual_seed(0)
    model, seen = small(n_fft=2048, hop=512), []
    model.network.register_forward_pre_hook(lambda _m, maps: seen.extend(maps))
    with torch.inference_mode():
        model(torch.randn(1, 2, 44_100))
    levels = torch.stack([maps.std() for maps in seen])
    assert len(levels) == 4
    assert levels.max() < 1.05 * levels.min()


def test_checkpointing_reaches_the_streams():
    model = small()
    model.network.checkpointing = True
    stages = [module for module in model.modules() if isinstance(module, Stage)]
    assert len(stages) == 3 + 3
    assert all(stage.checkpointing for stage in stages)


def test_a_bundle_gives_the_same_samples(tmp_path):
    model, mixture = small(("vocals", "rest")).eval(), torch.randn(1, 2, 2_001)
    loaded = load_model(save_bundle(tmp_path / "m.safetensors", model))
    again = models.build(model.config)
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(loaded(mixture), model(mixture))
        assert torch.equal(again.eval()(mixture), model(mixture))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": {"scales": []}},
            r"model\.network\.scales=\[\] must be a list of one or more numbers above 0, such as",
        ),
        ({"network": {"scales": 2}}, r"model\.network\.scales is 2, expected a list"),
        ({"network": {"scales": ["2"]}}, r"model\.network\.scales\[0\] is '2', expected a number"),
        (
            {"network": {"scales": [2, -1]}},
            r"model\.network\.scales=\[2\.0, -1\.0\] must be a list of one or more numbers above 0",
        ),
        (
            {"network": {"scales": [8]}},
            r"at 8 a token of 4 frames and 4 bins becomes 0\.5 and 32, which must be whole: change",
        ),
        (
            {"network": {"scales": [0.125]}},
            r"at 0\.125 a token of 4 frames and 4 bins becomes 32 and 0\.5, which must be whole",
        ),
        ({"hop": 126}, r"0\.25 times model\.n_fft=512 and model\.hop=126 gives 128 and 31\.5: exp"),
    ],
)
def test_impossible_scales(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_networks_with_one_input_refuse_scales():
    values = models.preset("tfswa_tiny")
    with pytest.raises(ConfigError, match=r"unknown key model\.network\.scales"):
        models.build({**values, "network": {**values["network"], "scales": [2]}})
