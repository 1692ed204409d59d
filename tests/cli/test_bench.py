import json
import re
import shlex
import subprocess
import sys

import pytest
import torch

from tests.small import write_songs
from tfswa_unet.bench import forward
from tfswa_unet.cli import bench, main, parser

QUICK = ["--threads", "1", "--device", "cpu"]


def _measured(capsys, *command):
    assert main(["bench", *map(str, command), *QUICK, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_separation_is_measured(bundle, capsys):
    result = _measured(capsys, "separate", "--model", bundle, "--seconds", 2, "--runs", 1)
    assert result["audio_seconds"] == 2
    assert result["stems"] == 4
    assert (result["segment_seconds"], result["overlap_seconds"]) == (6, 1)
    assert result["real_time_factor"] == pytest.approx(result["median_seconds"] / 2, rel=0.01)
    assert result["peak_memory_mb"] is None or result["peak_memory_mb"] > 50


def test_hops_are_measured(capsys):
    result = _measured(capsys, "live", "--hops", 5)
    assert result["model"] == "tfswa_realtime"
    assert (result["latency_ms"], result["hop_ms"]) == (23.22, 5.805)  # to five digits
    assert result["processor_ms"] > 0
    assert result["median_ms"] <= result["p99_ms"] <= result["most_ms"]
    assert main(["bench", "live", "--model", "tfswa_tiny", *QUICK]) == 1
    assert "tfswa_tiny takes segments, no hops: give a real-time model" in capsys.readouterr().out


def test_forward_is_measured(bundle, capsys):
    options = ("--seconds", 0.3, "--batch", 2, "--runs", 1, "--profile")
    result = _measured(capsys, "forward", "--model", bundle, *options)
    assert result["real_time_factor"] == pytest.approx(result["median_seconds"] / 0.6, rel=0.01)
    assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-3)


def test_training_is_measured(bundle, capsys):
    options = ("--seconds", 0.2, "--batch", 2, "--steps", 1, "--workers", 0, "--loss", "fast")
    result = _measured(capsys, "train", "--model", bundle, *options)
    assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert result["loss"] == "fast"
    assert result["model_flop_utilisation"] is None


def test_readers_are_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tfswa_unet.bench.data.SHORTEST", 0.0)
    options = ["--seconds", "0.2", "--batch", "2", "--samples", "2", "--workers", "0", "--threads", "1"]
    command = ["bench", "data", *options, "--readers", "wav", "cached"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"settings", "rows", "augmentations"}
    assert result["settings"]["readers"] == ["wav", "cached"]
    assert (result["settings"]["samples"], result["settings"]["workers"], result["settings"]["threads"]) == (2, 0, 1)
    assert {tuple(row) for row in result["rows"]} == {
        ("reader", "augmentation", "samples_per_second", "ratio_to_musdb")
    }
    assert {tuple(cost) for cost in result["augmentations"]} == {("augmentation", "milliseconds", "in_workers")}
    assert main([*command, "--data", str(write_songs(tmp_path))]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines if line and line[-1] == "–"] == [
        ["wav", "none"],
        ["cached", "none"],
        ["cached", "default"],
    ]
    shown = {line[0] for line in lines if line and line[-1] in ("training", "workers")}
    assert shown == {cost["augmentation"] for cost in result["augmentations"]}


def test_several_models_share_a_table(bundle, capsys):
    command = ["forward", "--model", bundle, "tfswa_tiny", "--seconds", 0.3, "--runs", 1]
    small, tiny = _measured(capsys, *command)
    assert (small["model"], tiny["model"]) == (str(bundle), "tfswa_tiny")
    assert (small["trained"], tiny["trained"]) == (True, False)
    assert main(["bench", *map(str, command), *QUICK, "--compare", "fp32"]) == 0
    shown = {line.split("  ")[0].strip(): line.split() for line in capsys.readouterr().out.splitlines()}
    assert shown["parameters"][-2:] == [f"{small['parameters']:,}", f"{tiny['parameters']:,}"]
    assert "snr db: vocals" in shown
    assert "status" not in shown
    assert not any(label.startswith("shares") for label in shown)


def test_the_other_models_are_measured_where_one_fails(bundle, capsys, monkeypatch):
    measure = forward.measure

    def full(setting):
        if setting.model == "tfswa_large":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measure(setting)

    monkeypatch.setattr(forward, "measure", full)
    command = ["bench", "forward", "--model", "tfswa_large", str(bundle), "--seconds", "0.2", "--runs", "1", *QUICK]
    assert main([*command, "--json"]) == 1
    large, small = json.loads(capsys.readouterr().out)
    assert large == {
        "model": "tfswa_large",
        "status": "failed",
        "reason": "OutOfMemoryError: CUDA out of memory",
    }
    assert small["status"] == "measured"
    assert main(command) == 1
    shown = {line.split("  ")[0].strip(): line.split() for line in capsys.readouterr().out.splitlines()}
    assert shown["status"] == ["status", "failed", "–"]


def test_an_unknown_model_is_one_sentence_before_others_are_measured(bundle, capsys):
    assert main(["bench", "separate", "--model", str(bundle), "tfswa_tny", "--seconds", "100000"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: tfswa_tny: no such bundle or checkpoint (did you mean tfswa_tiny?)"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["separate", "--runs", "0"], "--runs 0"),
        (["forward", "--runs", "0"], "--runs 0"),
        (["forward", "--seconds", "0"], "--seconds 0"),
        (["train", "--steps", "0"], "--steps 0"),
        (["data", "--samples", "0"], "--samples 0"),
        (["data", "--readers", "wave"], "unknown reader 'wave'"),
        (["train", "--model", "tfswa_tiny", "--loss", "none"], "unknown loss 'none'"),
        (["peers", "--peers", "demucs"], "unknown --peers 'demucs'"),
        (["contest", "--songs", "0"], "--songs 0"),
        (["options", "--device", "abacus"], "unknown device 'abacus'"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(command, message, capsys):
    assert main(["bench", *command]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_help_shows_examples_and_defaults(name, capsys):
    with pytest.raises(SystemExit):
        main(["bench", name, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"examples: tfswa bench {name}" in printed
    assert "(default: all cores)" in printed
    options = parser(["bench"]).parse_args(["bench", name])
    for default in (getattr(options, option, None) for option in ("out", "data", "minutes", "steps", "samples")):
        assert default is None or f"(default: {default})" in printed
    assert ("the exit status is 1" in printed) == (name != "data")


def test_every_example_parses():
    for line in bench.EXAMPLES.splitlines():
        args = parser(["bench"]).parse_args(shlex.split(re.split(r"\s{3,}", line.strip())[0])[1:])
        assert args.run is bench.run


def test_lists_have_commas_or_blanks():
    for given in (["fp32,bf16"], ["fp32", "bf16"]):
        assert list(sum(parser(["bench"]).parse_args(["bench", "peers", "--precision", *given]).precision, ())) == [
            "fp32",
            "bf16",
        ]


def test_help_does_not_wait_for_torch():
    code = "import sys; from tfswa_unet.cli import bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
