import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tfswa_unet.bench.peers import Step, lstm_flops, step_flops, time_steps


class Recurrent(nn.Module):
    stems, channels, rate = ("a", "b"), 1, 100

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(1, 8)
        self.lstm = nn.LSTM(8, 4, 2, bidirectional=True, batch_first=True)
        self.last = nn.Linear(8, 2)

    def forward(self, mixture):
        return self.last(self.lstm(self.first(mixture[:, 0, :, None]))[0]).transpose(1, 2)[:, :, None]


class Attentive(nn.Module):
    stems, channels, rate = ("a",), 1, 64

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(1, 32)

    def forward(self, mixture):
        tokens = self.first(mixture[:, :, :, None])
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mean(dim=-1)[:, :, None]


def test_an_lstms_products():
    one = nn.LSTM(3, 5)
    assert lstm_flops(one, 7) == 7 * 2 * (4 * 5 * 3 + 4 * 5 * 5)
    assert lstm_flops(nn.LSTM(8, 4, 2, bidirectional=True), 1) == 4 * 2 * (16 * 8 + 16 * 4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])  # fused, and not fused
def test_flops_of_a_step_with_lstms(precision):
    step = Step.make(Recurrent(), 3, 0.5, precision)
    positions = 3 * 50
    # The first layer sends no gradient to the mixture.
    linear = positions * 2 * (2 * 8 + 3 * 8 * 2)
    assert step_flops(step) == linear + 3 * lstm_flops(step.model.lstm, positions)
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_flops_of_a_step_with_attention():
    step = Step.make(Attentive(), 2, 1.0, "fp32")
    product = 2 * 64 * 64 * 32  # of one example's tokens, forward; backward has the two forward ones' scores anew
    assert step_flops(step) == 2 * (2 * product + 5 * product) + 2 * 2 * 64 * 2 * 32


def test_a_step_trains():
    torch.manual_seed(0)
    step = Step.make(Recurrent(), 1, 0.2, "fp32")

    def loss():
        with torch.no_grad():
            return (step.model(step.stems.sum(dim=1)) - step.stems).abs().mean().item()

    before = loss()
    for _ in range(20):
        step()
    assert loss() < before


def test_systems_take_turns():
    order = []

    class Noted(Step):
        def __call__(self):
            order.append(self.precision)

    steps = {name: Noted(None, torch.zeros(1), name, None) for name in ("x", "y")}
    medians = time_steps(steps, rounds=2, each=2, tell=lambda line: None)
    assert "".join(order) == "xxyy" * 3
    assert set(medians) == {"x", "y"}


def test_an_interruption_keeps_whole_measurements():
    calls = []

    class Noted(Step):
        def __call__(self):
            calls.append(self.precision)
            if len(calls) == 6:
                raise KeyboardInterrupt

    steps = {name: Noted(None, torch.zeros(1), name, None) for name in ("x", "y")}
    assert set(time_steps(steps, rounds=9, each=1, tell=lambda line: None)) == {"x", "y"}
    calls.clear()
    lines = []
    steps = {name: Noted(None, torch.zeros(1), name, None) for name in ("x", "y", "z")}
    calls += [""] * 2
    assert set(time_steps(steps, rounds=9, each=1, tell=lines.append)) == set()
    assert lines[-1] == "interrupted: what was measured so far follows"
