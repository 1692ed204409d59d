from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest
import torch
from torch import nn

import tfswa_unet.nn
from tests.cli.conftest import small_config
from tfswa_unet import models
from tfswa_unet.bench.forward import AFTER, BEFORE, KINDS, REST, measure, module_shares, snr_by_stem
from tfswa_unet.bench.settings import ForwardSetting
from tfswa_unet.errors import ConfigError, ModelError

CPU = torch.device("cpu")


def test_rates_follow_from_the_time(bundle):
    record = measure(ForwardSetting(model=bundle, seconds=0.5, batch=3, runs=2, device="cpu", profile=True))
    assert record["trained"]
    assert record["real_time_factor"] == pytest.approx(record["median_seconds"] / 1.5)
    assert record["segments_per_second"] == pytest.approx(3 / record["median_seconds"])
    assert record["audio_seconds_per_second"] == pytest.approx(1 / record["real_time_factor"])
    assert sum(record["shares"].values()) == pytest.approx(1)
    assert record["snr_db"] is None
    assert record["emulated"] is False


def test_bf16_is_held_against_fp32(bundle):
    record = measure(ForwardSetting(model=bundle, seconds=0.5, runs=1, device="cpu", precision="bf16"))
    assert record["precision"] == "bf16"
    assert list(record["snr_db"]) == ["vocals", "drums", "bass", "other"]
    assert all(20 < value < 120 for value in record["snr_db"].values())
    same = measure(ForwardSetting(model=bundle, seconds=0.5, runs=1, device="cpu", compare="fp32"))
    assert set(same["snr_db"].values()) == {150.0}


def test_emulation_is_told_by_the_processor(bundle, tmp_path, monkeypatch):
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr("tfswa_unet.processes.CPU_FACTS", facts)
    for flags, emulated in (("sse2 avx2", True), ("sse2 avx512_bf16", False)):
        facts.write_text(f"model name\t: A Processor\nflags\t: {flags}\n")
        record = measure(ForwardSetting(model=bundle, seconds=0.2, runs=1, device="cpu", precision="bf16"))
        assert (record["emulated"], record["device_name"]) == (emulated, "A Processor")


def test_snr_is_the_closed_form():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 2, 2, 3, 100))
    reference[:, 1] = 0
    noise[:, 1] = 0
    output = reference + 0.01 * noise
    expected = 10 * np.log10(np.sum(reference[:, 0] ** 2) / np.sum((0.01 * noise[:, 0]) ** 2))
    snr = snr_by_stem(torch.from_numpy(reference), torch.from_numpy(output), ("a", "b"))
    assert snr["a"] == pytest.approx(expected, rel=1e-6)
    assert snr["b"] == 150.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "--runs 0: expected a number above 0"),
        ({"batch": -1}, "--batch -1"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"compile": True, "profile": True}, "--compile --profile"),
        ({"compare": "bf16"}, "expected one of fp32"),
        ({"threads": 0}, "--threads 0"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_what_cannot_be_measured_is_refused(bundle, options, message):
    with pytest.raises(ConfigError, match=message):
        measure(ForwardSetting(model=bundle, **options))


def test_a_compiler_that_fails_is_one_sentence(bundle, monkeypatch):
    def fail(self, *_, **__):
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    with pytest.raises(ConfigError, match=r"--compile: torch.compile failed here \(no C\+\+ compiler\): leave it out"):
        measure(ForwardSetting(model=bundle, seconds=0.2, runs=1, device="cpu", compile=True))


def test_an_unknown_model(tmp_path):
    with pytest.raises(ModelError, match="no such bundle or checkpoint"):
        measure(ForwardSetting(model=str(tmp_path / "none.safetensors")))


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
    monkeypatch.setattr("tfswa_unet.bench.measures.time", clock := Clock())
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
    assert not {"BatchNorm", "PointConv", "WholeConv"} & set(shares)  # which are parts of parts
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
