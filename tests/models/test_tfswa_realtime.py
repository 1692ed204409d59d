"""The real-time model: what its stream gives, when it can know it, and what it keeps."""

import math

import pytest
import torch

from tests.models.conftest import awake
from tfswa_unet import models
from tfswa_unet.bundle import load_model, save_bundle
from tfswa_unet.dsp import FLOOR, MASKS, stft
from tfswa_unet.errors import ConfigError
from tfswa_unet.models import realtime
from tfswa_unet.models.realtime import RunningLevel
from tfswa_unet.types import STEMS

SIZES = {"convolutions": [4, 6], "width": 8, "depth": 2, "head_width": 4, "past": 9, "window": [4, 3]}


def small(stems=STEMS, network=None, **changes):
    values = {**models.preset("tfswa_realtime", stems), "n_fft": 128, "hop": 32, "subbands": 4, "rate": 8000, **changes}
    return models.build({**values, "network": {**values["network"], **SIZES, **(network or {})}})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = small()
    model(torch.randn(2, 2, 8_000))  # statistics unlike those of fresh norms
    return awake(model).eval()


def streamed(model, mixture, size):
    with torch.inference_mode(), model.stream() as stream:
        parts = [stream.push(block) for block in mixture.split(size, dim=-1)]
        return torch.cat([*parts, stream.finish()], dim=-1)


@pytest.mark.parametrize("size", [1, 32, 33, 777, 2_000])
def test_a_stream_gives_what_the_model_gives(model, size):
    mixture = 0.1 * torch.randn(2, 2, 1_601)
    mixture[0, :, 600:1_000] = 0
    with torch.inference_mode():
        whole = model(mixture)
    stems = streamed(model, mixture, size)
    assert stems.shape == whole.shape
    assert (stems - whole).abs().max() < 1e-5 < 0.1 * whole.abs().max()


@pytest.mark.parametrize("length", [1, 31, 64, 128, 129])
def test_short_mixtures(model, length):
    mixture = torch.randn(1, 2, length)
    with torch.inference_mode():
        assert torch.allclose(streamed(model, mixture, 20), model(mixture), atol=1e-5)


def test_long_blocks_are_taken_in_parts(model, monkeypatch):
    mixture = 0.1 * torch.randn(1, 2, 3_000)
    expected, frames = streamed(model, mixture, 3_000), []
    monkeypatch.setattr(realtime, "MOST_FRAMES", 10)
    hook = model.network.register_forward_hook(lambda module, given, output: frames.append(output.shape[2]))
    assert torch.allclose(streamed(model, mixture, 3_000), expected, atol=1e-5)
    hook.remove()
    assert max(frames) == 10


@pytest.mark.parametrize("mask", MASKS)
def test_no_sample_depends_on_more_than_the_latency_to_come(mask):
    torch.manual_seed(0)
    model = awake(small(mask=mask)).eval()
    mixture = torch.randn(1, 2, 2_000)
    for at in (1_000, 1_017, 1_031):
        moved = mixture.clone()
        moved[..., at:] = torch.randn_like(moved[..., at:])
        with torch.inference_mode():
            change = (model(moved) - model(mixture)).abs().amax(dim=(0, 1, 2))
        assert change[: at - model.latency + 1].max() < 1e-6
        assert change[at - model.latency // 2 : at].max() > 1e-3
    assert model.latency == 128


def test_stems_come_no_later_than_the_latency_says(model):
    given = 0
    with torch.inference_mode(), model.stream() as stream:
        for number, sample in enumerate(torch.randn(1, 2, 500).split(1, -1), start=1):
            given += stream.push(sample).shape[-1]
            assert given > number - model.latency


def test_the_preset_is_less_than_30_ms_late():
    model = models.build(models.preset("tfswa_realtime"))
    assert model.latency / model.rate < 0.03


def test_the_state_is_dropped_and_streams_do_not_meet(model):
    first, second = torch.randn(2, 1, 2, 1_000)
    stream = model.stream()
    with pytest.raises(RuntimeError, match="inside its `with` block only"):
        stream.push(first)
    with torch.inference_mode():
        expected = [model(first), model(second)]
        for mixture, whole in zip((first, second), expected, strict=True):
            with stream:  # again, from the beginning
                given = [stream.push(mixture), stream.finish()]
            assert stream._state is None
            assert torch.allclose(torch.cat(given, -1), whole, atol=1e-5)
        with model.stream() as one, model.stream() as other:
            parts = [
                [side.push(block) for side, block in zip((one, other), blocks, strict=True)]
                for blocks in zip(first.split(100, -1), second.split(100, -1), strict=True)
            ]
            ends = [one.finish(), other.finish()]
    for side in (0, 1):
        given = torch.cat([*(part[side] for part in parts), ends[side]], -1)
        assert torch.allclose(given, expected[side], atol=1e-5)
    assert not any(isinstance(value, torch.Tensor) for value in vars(model.network).values())


def test_the_running_level_is_a_mean_that_forgets():
    torch.manual_seed(0)
    layer = RunningLevel(1024, 256, 44_100, 1.0)
    steady = 0.3 * torch.randn(1, 2, 3 * 44_100)
    assert torch.allclose(layer(stft(steady, 1024, 256))[0, 0, 4:-4, 0], torch.tensor(0.3), rtol=0.1)
    louder = torch.cat([steady, 10 * steady], dim=-1)
    levels = layer(stft(louder, 1024, 256))[0, 0, :, 0]
    after = levels[len(levels) // 2 + round(44_100 / 256)].item()  # by one time constant
    kept = (math.exp(-1) - math.exp(-4)) / (1 - math.exp(-4))  # of the mean over four
    assert after == pytest.approx(0.3 * math.sqrt(kept + 100 * (1 - kept)), rel=0.05)


def test_silence_is_no_part_of_the_level():
    layer, music = RunningLevel(1024, 256, 44_100, 1.0), 0.3 * torch.randn(1, 2, 44_100)
    late = layer(stft(torch.cat([torch.zeros(1, 2, 2 * 44_100), music], -1), 1024, 256))[0, 0, :, 0]
    assert (late[:340] == FLOOR).all()
    assert late[350:].min() > 0.2


def test_level_of_the_input_does_not_matter(model):
    mixture = torch.randn(1, 2, 2_000)
    with torch.inference_mode():
        assert torch.allclose(model(0.01 * mixture), 0.01 * model(mixture), atol=1e-6)


@pytest.mark.parametrize("mask", MASKS)
def test_silence_gives_silence(mask):
    model = awake(small(mask=mask)).eval()
    mixture = torch.randn(1, 2, 3_000)
    mixture[..., 1_000:2_000] = 0
    with torch.inference_mode():
        assert not model(torch.zeros(1, 2, 2_000)).any()
        assert not model(mixture)[..., 1_128:1_872].any()


@pytest.mark.parametrize("changes", [{}, {"mask": "complex", "features": "both", "compression": 100.0}])
def test_stems_are_the_same_in_real_numbers(changes):
    torch.manual_seed(0)
    model = awake(small(**changes)).eval()
    real = model.in_real_numbers()
    for length in (1, 129, 4_097):
        mixture = torch.randn(2, 2, length) * torch.tensor([1.0, 0.0])[:, None, None]
        with torch.inference_mode():
            stems = model(mixture)
            assert (real(mixture) - stems).norm() < 1e-5 * stems.norm()


def test_every_parameter_gets_a_gradient_with_checkpointing_too():
    torch.manual_seed(0)
    model, mixture, gradients = awake(small()), torch.randn(2, 2, 700), []
    weights = torch.rand(2, 4, 2, 700)
    for checkpointing in (False, True):
        model.network.checkpointing = checkpointing
        model.zero_grad()
        model(mixture).square().mul(weights).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, plain in gradients[0].items():
        assert plain.abs().max() > 0, name
        assert torch.allclose(gradients[1][name], plain, rtol=1e-3, atol=1e-3 * plain.abs().max()), name
    assert len(model.network.regions()) == 6


def test_a_bundle_gives_the_same_stream(model, tmp_path):
    again = load_model(save_bundle(tmp_path / "live.safetensors", model))
    mixture = torch.randn(1, 2, 500)
    assert torch.equal(streamed(again, mixture, 32), streamed(model, mixture, 32))
    assert "weights" not in " ".join(again.state_dict())  # of the level, which are no weights


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"convolutions": [4] * 5}, r"16 bins cannot be halved 5 times"),
        ({"convolutions": []}, r"model\.network\.convolutions must be numbers from 1, got \[\]"),
        ({"window": [0, 3]}, r"model\.network\.window must be numbers from 1, got \[0, 3\]"),
        ({"past": 0}, r"model\.network\.past=0 1 or above"),
        ({"head_width": 3}, r"model\.network\.head_width=3 must divide width=8"),
        ({"level_seconds": 0}, r"model\.network\.level_seconds=0.* must be above 0"),
        ({"norm": "batch"}, r"unknown model\.network\.norm 'batch'"),
        ({"pastt": 3}, r"unknown key model\.network\.pastt \(did you mean past\?\)"),
    ],
)
def test_impossible_values(network, message):
    with pytest.raises(ConfigError, match=message):
        small(network=network)
