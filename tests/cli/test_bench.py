import json

import pytest

from tfswa_unet.cli import main


def test_separation_is_measured(capsys):
    command = [
        "bench",
        "separate",
        "--model",
        "tfswa_tiny",
        "--seconds",
        "2",
        "--runs",
        "1",
        "--threads",
        "1",
        "--json",
    ]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["audio_seconds"] == 2
    assert result["stems"] == 4
    assert result["real_time_factor"] == pytest.approx(result["median_seconds"] / 2, rel=0.01)
    assert result["peak_memory_mb"] > 50


def test_an_unknown_model_is_one_sentence(capsys):
    assert main(["bench", "separate", "--model", "tfswa_tny"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: tfswa_tny: no such bundle or checkpoint (did you mean tfswa_tiny?)"
    )


def test_nothing_to_measure(capsys):
    assert main(["bench", "separate", "--runs", "0"]) == 1
    assert "--runs 0" in capsys.readouterr().err
