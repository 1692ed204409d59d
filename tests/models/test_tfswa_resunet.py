import pytest
import torch

from tfswa_unet import models
from tfswa_unet.dsp import stft
from tfswa_unet.errors import ConfigError

NETWORK = {"widths": [4, 8], "rcms": 2, "depth": 2, "heads": 2}
KINDS = ("none", "conv", "tsa", "fsa", "tsa_fsa", "tfswa")


def small(stems=("vocals",), **network):
    """The paper's model with a network small enough for a test."""
    paper = models.preset("tfswa_resunet", tuple(stems))
    changes = {**paper["network"], **NETWORK, **network}
    return models.build({**paper, "n_fft": 128, "hop": 32, "network": changes})


def paper(stems=("vocals",), **network):
    """The paper's model at its real size, without memory for its weights."""
    values = models.preset("tfswa_resunet", tuple(stems))
    with torch.device("meta"):
        return models.build({**values, "network": {**values["network"], **network}})


def _parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_size():
    assert _parameters(paper()) == pytest.approx(44.3e6, rel=0.005)


def test_four_convolutions_in_the_bottleneck_are_one_conv_block_of_a_single_width():
    def rcm(width):
        return 2 * 2 * width + 2 * 9 * width**2 + width**2 + width

    assert _parameters(paper(bottleneck="conv")) - _parameters(paper(bottleneck="none")) == 4 * rcm(384)


def test_the_paper_in_and_out():
    model = paper()
    config = model.model_config
    assert (config.maps_in, config.maps_out, config.bins) == (8, 8, 256)
    assert model.network.frame_multiple == 32
    assert [block.block[0].shortcut.out_channels for block in model.network.encoder] == [32, 64, 128, 256, 384]


@pytest.mark.parametrize("stems", [("vocals",), ("vocals", "rest"), ("a", "b", "c", "d"), ("a", "b", "c", "d", "e")])
def test_any_stems(stems):
    model = small(stems)
    assert model(torch.randn(2, 2, 700)).shape == (2, len(stems), 2, 700)
    assert model.stems == stems


@pytest.mark.parametrize("length", [1, 31, 1_000, 4_097])
def test_any_number_of_frames(length):
    stems = small()(torch.randn(1, 2, length))
    assert stems.shape == (1, 1, 2, length)
    assert torch.isfinite(stems).all()


@pytest.mark.parametrize(("n", "padded"), [(1, 4), (4, 4), (5, 8), (301, 304)])
def test_frames_are_padded_to_the_multiple_and_no_more(n, padded):
    network, seen = small().network, []
    network.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert network(torch.randn(1, 8, n, 16)).shape == (1, 8, n, 16)
    assert seen[0].shape == (1, 8, padded, 16)
    assert not seen[0][:, :, n:].any()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bottleneck", KINDS)
def test_every_parameter_gets_a_gradient(bottleneck):
    torch.manual_seed(0)
    model = small(bottleneck=bottleneck)
    model.network(torch.randn(2, 8, 12, 16)).mul(torch.randn(2, 8, 12, 16)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_waveform_reaches_every_parameter():
    torch.manual_seed(0)
    model = small()
    mixture = torch.randn(2, 2, 1_500)
    (model(mixture)[:, 0] - 0.5 * mixture).abs().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("bottleneck", KINDS)
def test_checkpointing_gives_the_same_gradients_and_statistics(bottleneck):
    models_, maps = [], torch.randn(2, 8, 9, 16)
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = small(bottleneck=bottleneck).network
        model.checkpointing = checkpointing
        assert model.checkpointing == checkpointing
        model(maps).abs().pow(1.5).sum().backward()
        models_.append(model)
    plain, recomputed = models_
    for expected, got in zip(plain.parameters(), recomputed.parameters(), strict=True):
        assert torch.allclose(got.grad, expected.grad, atol=1e-4)
    for (name, expected), got in zip(plain.named_buffers(), recomputed.buffers(), strict=True):
        assert torch.allclose(got.float(), expected.float()), name


@pytest.mark.parametrize("training", [True, False])
def test_silence_gives_silence(training):
    assert not small().train(training)(torch.zeros(1, 2, 2_000)).any()


def test_the_mixture_gives_its_phase():
    torch.manual_seed(0)
    model, mixture = small().eval(), torch.randn(1, 2, 2_000)
    ratio = model.spectra(mixture)[:, 0] / stft(mixture, 128, 32)
    assert ratio.real.max() > 0
    assert ratio.real.min() >= -1e-5
    assert ratio.imag.abs().max() < 1e-4 * ratio.real.max()


def test_examples_of_a_batch_are_apart_after_training():
    model, mixtures = small().eval(), torch.randn(3, 2, 900)
    alone = torch.cat([model(mixture[None]) for mixture in mixtures])
    assert torch.allclose(model(mixtures), alone, atol=1e-5)


def test_built_again_from_its_config():
    model = small().eval()
    again = models.build(model.config).eval()
    again.load_state_dict(model.state_dict())
    mixture = torch.randn(1, 2, 1_000)
    assert torch.equal(again(mixture), model(mixture))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"bottleneck": "tfs"},
            r"unknown model\.network\.bottleneck 'tfs'.*: expected one of none",
        ),
        ({"heads": 3}, r"model\.network\.heads=3 must divide the last width, got 8"),
        ({"heads": 0}, r"model\.network\.heads=0 must be 1 or above"),
        ({"depth": 0}, r"model\.network\.depth=0 must be 1 or above; bottleneck=none leaves the bottleneck out"),
        ({"widths": []}, r"model\.network\.widths must be numbers from 1, got \[\]"),
        ({"window": [5, 0]}, r"model\.network\.window must be numbers from 1, got \[5, 0\]"),
        ({"widths": [4] * 5}, r"16 bins cannot be halved 5 times: change model\.n_fft, model\.subbands or the number"),
        ({"module": "tsa"}, r"unknown key model\.network\.module"),
    ],
)
def test_impossible_values(network, message):
    with pytest.raises(ConfigError, match=message):
        small(**network)
