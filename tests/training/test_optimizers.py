"""Optimizers: their every option, SOAP against its recursion, and their state after a pause."""

import sys

import pytest
import torch
from torch import nn

from tests.training.test_fit import StopAt
from tfswa_unet.config import choice, choices
from tfswa_unet.errors import ConfigError
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.optimization import make_optimizer

OTHER = {  # values of options unlike those of conf
    "lr": 3e-2,
    "weight_decay": 0.5,
    "betas": (0.3, 0.7),
    "precondition_frequency": 2,
}


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(20, 7), nn.LayerNorm(7))


def _train(network, optimizer, steps=6, first=0):
    for step in range(first, first + steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        (network(torch.randn(4, 3, 4, 4)) - torch.randn(4, 7)).square().mean().backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _trained(options):
    network = _network()
    return _train(network, make_optimizer(options, network))


@pytest.mark.parametrize("name", choices("optimizer"))
def test_every_option_of_every_optimizer_matters(name):
    options = choice("optimizer", name)
    given = set(options) - {"name"}
    outcomes = [_trained(options), *(_trained({**options, option: OTHER[option]}) for option in given)]
    assert all(torch.isfinite(outcome).all() for outcome in outcomes)
    assert len({tuple(outcome.tolist()) for outcome in outcomes}) == 1 + len(given)


def test_soap_is_adam_in_the_eigenbasis_of_the_gradients():
    """One weight, steps of its own recursion: the first gradient makes the bases and nothing else."""
    options = {"name": "soap", "lr": 1e-2, "weight_decay": 0.0, "betas": (0.8, 0.9), "precondition_frequency": 100}
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    optimizer = make_optimizer(options, nn.ParameterList([weight]))
    expected, first, *others = (torch.randn(4, 3, dtype=torch.float64) for _ in range(5))
    expected = weight.detach().clone()
    left, right = (torch.linalg.eigh(each)[1].flip(1) for each in (first @ first.T, first.T @ first))
    mean, squares = torch.zeros_like(first), torch.zeros_like(first)
    for number, gradient in enumerate([first, *others]):
        weight.grad = gradient.clone()
        optimizer.step()
        if number:
            mean = 0.8 * mean + 0.2 * gradient
            squares = 0.9 * squares + 0.1 * (left.T @ gradient @ right).square()
            scaled = (left.T @ mean @ right) / (1 - 0.8**number) / (squares / (1 - 0.9**number)).sqrt()
            expected = expected - 1e-2 * left @ scaled @ right.T
        assert torch.allclose(weight, expected, atol=1e-7)


@pytest.mark.parametrize("name", choices("optimizer"))
def test_state_goes_through_a_file_bit_for_bit(name, tmp_path):
    options = {**choice("optimizer", name), **({"precondition_frequency": 2} if name == "soap" else {})}
    network = _network()
    optimizer = make_optimizer(options, network)
    _train(network, optimizer, 3)
    torch.save([network.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    expected = _train(network, optimizer, 3, first=3)
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = _network()
    resumed.load_state_dict(weights)
    again = make_optimizer(options, resumed)
    again.load_state_dict(state)
    assert torch.equal(_train(resumed, again, 3, first=3), expected)


def test_a_run_that_goes_on_with_soap_ends_with_the_same_bits(config, tmp_path):
    options = ("optimizer=soap", "optimizer.precondition_frequency=2", "trainer.max_steps=4")
    ends = []
    for folder, stop, more in (("whole", None, ()), ("broken", 2, ()), ("resumed", None, ("resume",))):
        resume = [f"resume={tmp_path / 'broken.ckpt'}"] if more else []
        run = build_run(config(*options, *resume), tmp_path / folder)
        if stop:
            run.trainer.callbacks.append(StopAt(stop, tmp_path / "broken.ckpt"))
        path = run.resume.path if run.resume else None
        run.trainer.fit(run.module, run.data, ckpt_path=path, weights_only=True)
        ends.append(torch.cat([p.detach().flatten() for p in run.module.model.parameters()]))
    whole, broken, resumed = ends
    assert torch.equal(whole, resumed)
    assert not torch.equal(whole, broken)


def test_soap_does_not_train_cut_weights(config, tmp_path):
    with pytest.raises(ConfigError, match=r"^optimizer=soap works on whole weights, which strategy=fsdp cuts over"):
        build_run(config("optimizer=soap", "strategy=fsdp", "ema=none"), tmp_path)


def test_an_optimizer_whose_package_is_missing_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    told = r"^optimizer=soap needs the package pytorch-optimizer: pip install 'tfswa-unet\[optim\]', or take opt\S+w$"
    with pytest.raises(ConfigError, match=told):
        make_optimizer(choice("optimizer", "soap"), _network())
