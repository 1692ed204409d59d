import json

import pytest
import torch

from tfswa_unet.bench import peers
from tfswa_unet.bench.networks import PUBLISHED
from tfswa_unet.errors import ConfigError

SMALL = ["--models", "tfswa_tiny", "--runs", "2", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _networks(fake_peers, small_presets):
    pass


def test_separation_in_both_precisions(capsys):
    assert peers.main([*SMALL, "--seconds", "1", "--precision", "fp32,bf16", "--json"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert [(row["system"], row["precision"]) for row in record["systems"]] == [
        (system, precision) for system in ("tfswa_tiny", *PUBLISHED) for precision in ("fp32", "bf16")
    ]
    by_key = {(row["system"], row["precision"]): row for row in record["systems"]}
    for (_, precision), row in by_key.items():
        assert row["rate"] == pytest.approx(row["seconds"], abs=1e-4)
        for baseline in ("htdemucs", "openunmix"):
            beside = by_key[baseline, precision]["rate"]
            assert row["ratios"][baseline] == pytest.approx(row["rate"] / beside, rel=1e-6)
    assert (record["runs"], record["seconds"], record["threads"]) == (2, 1.0, 1)
    assert "round 2 of 2: bs_roformer bf16: real-time factor" in printed.err


def test_systems_take_turns(monkeypatch):
    order = []
    wholes = {(name, "fp32"): lambda mixture, name=name: order.append((name, mixture.shape[-1])) for name in "ab"}
    medians = peers.time_tracks(wholes, torch.zeros(2, 9), 2, torch.zeros(2, 3))
    assert order == [("a", 3), ("b", 3), ("a", 9), ("b", 9), ("a", 9), ("b", 9)]
    assert set(medians) == set(wholes)


def test_an_interruption_leaves_what_was_measured():
    calls = []

    def whole(mixture):
        calls.append(mixture.shape[-1])
        if len(calls) == 4:
            raise KeyboardInterrupt

    wholes = {("a", "fp32"): whole, ("b", "fp32"): whole}
    assert set(peers.time_tracks(wholes, torch.zeros(2, 9), 5, torch.zeros(2, 3))) == {("a", "fp32")}


def test_training(capsys):
    arguments = ["--train", "--segment", "0.2", "--batch", "2", "--steps", "1", "--peers", "htdemucs"]
    assert peers.main([*SMALL, *arguments, "--peak-tflops", "0.001", "--json"]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)["systems"]
    # Halves: one weight a stem on 2 × 2 × 8820 samples, forward and for the weight's gradient.
    assert theirs["flops"] == 2 * 2 * (2 * 2 * 8_820 * 4)
    for row in (ours, theirs):
        assert row["rate"] == pytest.approx(2 / row["seconds"], rel=0.05)
        assert row["utilisation"] == pytest.approx(row["flops"] / (2 / row["rate"]) / 1e9, rel=1e-6)
    assert ours["flops"] > theirs["flops"]
    assert theirs["ratios"] == {"htdemucs": 1.0}


def test_the_table(capsys):
    assert peers.main([*SMALL, "--runs", "1", "--seconds", "1", "--peers", "openunmix"]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "openunmix" in line and "fp32" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][4:] == ["–", "1.00"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "demucs"], r"unknown --peers 'demucs' \(did you mean htdemucs\?\)"),
        (["--precision", "fp16"], "unknown --precision 'fp16'.*expected one of fp32, bf16"),
        (["--runs", "0"], "--runs 0: expected a number above 0"),
        (["--models", "", "--peers", ""], "nothing to measure: name at least one of --models and --peers"),
        (["--models", "tfswa_tyni"], r"unknown model 'tfswa_tyni' \(did you mean tfswa_tiny\?\)"),
    ],
)
def test_mistakes_are_told_before_anything_runs(arguments, message):
    with pytest.raises(ConfigError, match=message):
        peers.main([*SMALL, *arguments])
