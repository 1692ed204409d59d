"""Every accepted choice of stems and model learns: looked at in the output, not in a flag."""

import pytest
import torch

from tfswa_unet.config import choices, from_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import objective
from tfswa_unet.training.builder import make_module
from tfswa_unet.training.config import TrainConfig

SMALL = ["model.n_fft=256", "model.hop=64", "model.subbands=2", "optimizer.lr=1e-2"]
TOKENS = ["model.network.widths=[8]", "model.network.depths=[1]", "model.network.mlp_ratios=[1]"]
U = ["model.network.convolutions=[4,8]", "model.network.head_width=8", *TOKENS]
CLASSIC = [*TOKENS, "model.network.head_width=8", "model.network.detail=4"]
REALTIME = ["model.network.convolutions=[4,8]", "model.network.width=8", "model.network.head_width=8"]
RESUNET = ["model.network.widths=[4,8]", "model.network.rcms=1", "model.network.depth=1"]
STEMS = ["vocals", "drums", "[bass,drums]", "[vocals,other]", "vocals_accompaniment", "[drums,rest]", "four"]
SOURCES = 4


def module(make_config, model, stems, mask=None, changes=()):
    sizes = {"tfswa_resunet": RESUNET, "tfswa_classic": CLASSIC, "tfswa_realtime": REALTIME}.get(model, U)
    masked = [f"model.mask={mask}"] if mask else []
    overrides = [f"model={model}", f"stems={stems}", *SMALL, *sizes, *masked, *changes]
    values = make_config(*overrides, "augmentation=none", "loss=waveform", small=False)
    covers = stems in ("four", "vocals_accompaniment", "[drums,rest]")
    torch.manual_seed(0)
    return make_module(from_values(TrainConfig, values, ""), covers)


def batch(module):
    """Sources of one band each, which a mask can tell apart; those that no stem names follow the stems."""
    time = torch.arange(4_410) / 44_100
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(2, SOURCES, 2, len(time), generator=generator)
    tones = torch.stack([torch.sin(6.2832 * hertz * time) for hertz in (400, 1_500, 4_000, 9_000)])
    sources = noise + 0.3 * tones[None, :, None]
    targets = len(module.model.stems)
    rest = sources[:, targets:].sum(dim=1, keepdim=True)
    if module.model.model_config.sums_to_mixture:
        return torch.cat([sources[:, : targets - 1], sources[:, targets - 1 :].sum(dim=1, keepdim=True)], dim=1)
    return torch.cat([sources[:, :targets], rest], dim=1)


def check_it_learns(module):
    stems = batch(module)
    targets = stems[:, : len(module.model.stems)]
    mixture = stems.sum(dim=1)

    def error():
        with torch.no_grad():
            return (module.model.eval()(mixture) - targets).square().mean(dim=(0, 2, 3))

    before = error()
    optimizer = torch.optim.Adam(module.model.parameters(), 2e-2)
    module.model.train()
    for step in range(40):
        optimizer.zero_grad()
        objective(module.model, module.loss, stems, step)[0].backward()
        optimizer.step()
    for normalisation in (each for each in module.modules() if isinstance(each, torch.nn.BatchNorm2d)):
        normalisation.momentum = 1.0  # statistics of these weights
    with torch.no_grad():
        module.model.train()(mixture)
    after = error()
    as_mixture = (mixture[:, None] - targets).square().mean(dim=(0, 2, 3))
    assert (after < 0.5 * before).all(), (before, after)
    assert (after < 0.5 * as_mixture).all(), (after, as_mixture)


@pytest.mark.parametrize("stems", STEMS)
def test_every_choice_of_stems_learns(make_config, stems):
    check_it_learns(module(make_config, "tfswa_tiny", stems))


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("stems", ["vocals", "[bass,drums]"])
def test_every_model_learns_stems_that_are_not_the_whole(make_config, model, stems):
    check_it_learns(module(make_config, model, stems))


@pytest.mark.parametrize("mask", ["sigmoid", "complex", "softmax"])
def test_every_mask_learns_one_stem(make_config, mask):
    check_it_learns(module(make_config, "tfswa_tiny", "vocals", mask))


def test_stems_that_are_not_the_whole_are_not_forced_to_sum_to_it(make_config):
    model = module(make_config, "tfswa_tiny", "[bass,drums]").model.eval()
    mixture = torch.randn(1, 2, 4_410, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        left = mixture - model(mixture).sum(dim=1)
    assert left.square().mean() > 0.01 * mixture.square().mean()


@pytest.mark.parametrize("stems", ["rest", "accompaniment"])
def test_a_stem_that_is_the_whole_mixture_is_refused(make_config, stems):
    values = make_config("model=tfswa_tiny", f"stems={stems}", small=False)
    with pytest.raises(
        ConfigError, match=rf"'{stems}' alone would be the whole mixture, .*stems=\[vocals,accompaniment\]"
    ):
        make_module(from_values(TrainConfig, values, ""), True)
