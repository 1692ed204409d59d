import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.bench.conftest import Halves
from tfswa_unet.bench.measures import lstm_flops
from tfswa_unet.bench.networks import PUBLISHED
from tfswa_unet.bench.peers import Step, measure
from tfswa_unet.bench.results import MissingPackage
from tfswa_unet.bench.settings import PeersSetting
from tfswa_unet.cli import main
from tfswa_unet.errors import ConfigError

SMALL = {"models": ("tfswa_tiny",), "runs": 2, "threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def _networks(fake_peers, small_presets):
    pass


def _measured(**options):
    return measure(PeersSetting(**{**SMALL, **options}))


def test_separation_in_both_precisions(capsys):
    record = _measured(seconds=0.5, precision=("fp32", "bf16"))
    assert [(row["system"], row["precision"]) for row in record["systems"]] == [
        (system, precision) for system in ("tfswa_tiny", *PUBLISHED) for precision in ("fp32", "bf16")
    ]
    by_key = {(row["system"], row["precision"]): row for row in record["systems"]}
    for (_, precision), row in by_key.items():
        assert row["status"] == "measured"
        assert row["rate"] == pytest.approx(row["seconds"] / 0.5, abs=2e-4)
        for baseline in ("htdemucs", "openunmix"):
            beside = by_key[baseline, precision]["rate"]
            assert row["ratios"][baseline] == pytest.approx(row["rate"] / beside, rel=1e-6)
    assert (record["runs"], record["seconds"], record["threads"]) == (2, 0.5, 1)
    assert "round 2 of 2: bs_roformer bf16: real-time factor" in capsys.readouterr().err


def test_training():
    options = {"train": True, "segment": 0.2, "batch": 2, "steps": 1, "peers": ("htdemucs",), "peak_tflops": 0.001}
    ours, theirs = _measured(**options)["systems"]
    # Halves: one weight a stem on 2 × 2 × 8820 samples, forward and for the weight's gradient.
    assert theirs["flops"] == 2 * 2 * (2 * 2 * 8_820 * 4)
    for row in (ours, theirs):
        assert row["rate"] == pytest.approx(2 / row["seconds"], rel=0.05)
        assert row["utilisation"] == pytest.approx(row["flops"] / (2 / row["rate"]) / 1e9, rel=1e-6)
    assert ours["flops"] > theirs["flops"]
    assert theirs["ratios"] == {"htdemucs": 1.0}


@pytest.mark.parametrize("more", [[], ["--train", "--segment", "0.1", "--batch", "1", "--steps", "1"]])
def test_the_others_are_measured_where_one_fails(monkeypatch, capsys, more):
    def missing(stems):
        raise MissingPackage("demucs is missing: install it")

    class Full(Halves):
        def forward(self, mixture):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB. And more")

    monkeypatch.setitem(PUBLISHED, "htdemucs", missing)
    monkeypatch.setitem(PUBLISHED, "bs_roformer", Full)
    command = ["bench", "peers", "--models", "", "--runs", "1", "--seconds", "0.2", "--threads", "1", *more]
    assert main([*command, "--json"]) == 1
    rows = {row["system"]: row for row in json.loads(capsys.readouterr().out)["systems"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "htdemucs": "failed",
        "openunmix": "measured",
        "bs_roformer": "failed",
    }
    assert rows["htdemucs"]["reason"] == "demucs is missing: install it"
    assert rows["bs_roformer"]["reason"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB"
    assert rows["openunmix"]["rate"] > 0
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "htdemucs fp32: failed: demucs is missing: install it" in printed.splitlines()
    row = next(line for line in printed.splitlines() if "bs_roformer" in line and "│" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][1:4] == ["failed", "fp32", "–"]


def test_the_table(capsys):
    command = ["bench", "peers", "--models", "tfswa_tiny", "--runs", "1", "--threads", "1", "--seconds", "0.5"]
    assert main([*command, "--peers", "openunmix"]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "openunmix" in line and "fp32" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][4:] == ["–", "1.00"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peers": ("demucs",)}, r"unknown --peers 'demucs' \(did you mean htdemucs\?\)"),
        ({"precision": ("fp16",)}, "unknown --precision 'fp16'.*expected one of fp32, bf16"),
        ({"runs": 0}, "--runs 0: expected a number above 0"),
        ({"models": (), "peers": ()}, "nothing to measure: name at least one of --models and --peers"),
        ({"models": ("tfswa_tyni",)}, r"unknown model 'tfswa_tyni' \(did you mean tfswa_tiny\?\)"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, message):
    with pytest.raises(ConfigError, match=message):
        _measured(**options)


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])  # fused, and not fused
def test_flops_of_a_step_with_lstms(precision):
    step = Step(Recurrent(), 3, 0.5, precision)
    positions = 3 * 50
    # The first layer sends no gradient to the mixture.
    linear = positions * 2 * (2 * 8 + 3 * 8 * 2)
    assert step.count() == linear + 3 * lstm_flops(step.model.lstm, positions)
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_flops_of_a_step_with_attention():
    step = Step(Attentive(), 2, 1.0, "fp32")
    product = 2 * 64 * 64 * 32  # of one example's tokens, forward; backward has the two forward ones' scores anew
    assert step.count() == 2 * (2 * product + 5 * product) + 2 * 2 * 64 * 2 * 32


def test_a_step_trains():
    torch.manual_seed(0)
    step = Step(Recurrent(), 1, 0.2, "fp32")

    def loss():
        with torch.no_grad():
            return (step.model(step.stems.sum(dim=1)) - step.stems).abs().mean().item()

    before = loss()
    for _ in range(20):
        step()
    assert loss() < before
