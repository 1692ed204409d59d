from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from torch import nn

import tfswa_unet.nn
from tests.cli.conftest import small_config
from tfswa_unet import models
from tfswa_unet.bench.forward import AFTER, BEFORE, KINDS, REST, module_shares

CPU = torch.device("cpu")


class Clock:
    """Time that only passes where it is spent."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def time(monkeypatch):
    monkeypatch.setattr("tfswa_unet.bench.forward.time", clock := Clock())
    return clock


class Sleeper(nn.Module):
    def __init__(self, time, seconds, inner=None):
        super().__init__()
        self.time, self.seconds, self.inner = time, seconds, inner or nn.Identity()

    def forward(self, x):
        self.time.sleep(self.seconds / 3)
        y = self.inner(x)
        self.time.sleep(self.seconds * 2 / 3)
        return y


class Deep(Sleeper):
    pass


class Model(nn.Module):
    def __init__(self, time):
        super().__init__()
        self.time = time
        self.network = nn.Sequential(Deep(time, 3, nn.Sequential(Sleeper(time, 6))), nn.Linear(2, 2))

    def forward(self, x):
        self.time.sleep(2)
        y = self.network(x)
        self.time.sleep(4)
        return y


def test_time_belongs_to_the_innermost_module_of_ours(time):
    model = Model(time)
    shares = module_shares(model, lambda: model(torch.zeros(1, 2)), 3, CPU)
    assert sum(shares.values()) == pytest.approx(1)
    expected = {"Sleeper": 6 / 15, AFTER: 4 / 15, "Deep": 3 / 15, BEFORE: 2 / 15, REST: 0}
    assert shares == pytest.approx(expected)
    assert list(shares) == ["Sleeper", AFTER, "Deep", BEFORE, REST]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_parts_of_the_architecture_have_their_names():
    model = models.build(small_config()).eval()
    with torch.no_grad():
        shares = module_shares(model, lambda: model(torch.randn(1, 2, 8192)), 1, CPU)
    assert {BEFORE, AFTER, "TSA", "FSA", "W-MSA", "MLP", "convolutions", "stem", "head", "down, up"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_module_that_raises_leaves_no_hook(time):
    model = Model(time)
    with pytest.raises(RuntimeError):
        module_shares(model, lambda: model(torch.zeros(1, 3)), 1, CPU)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_named_kinds_exist():
    rooms = [import_module(f"tfswa_unet.nn.{file.name}") for file in iter_modules(tfswa_unet.nn.__path__)]
    assert set(KINDS) <= {name for room in rooms for name in vars(room)}
