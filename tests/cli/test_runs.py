from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

from tfswa_unet.cli import main


@pytest.fixture
def root(tmp_path):
    for name, lr, score in (("first", 0.001, 4.25), ("second", 0.002, 6.5), ("third", 0.001, 1.0)):
        folder = tmp_path / "runs" / name
        (folder / "csv").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": "tiny"}, "optimizer": {"lr": lr}}))
        (folder / "csv/metrics.csv").write_text(f"step,train/loss,val/sdr,val/sdr_bass\n9,1.0,,\n9,,{score},{score}\n")
    return tmp_path / "runs"


def test_runs_are_lines_and_what_is_unusual_stands_below(root, capsys):
    assert main(["runs", str(root)]) == 0
    headings, *lines = capsys.readouterr().out.splitlines()
    assert headings.split() == ["run", "model", "steps", "SDR", "bass", "at", "step"]
    assert lines[0].split() == ["second", "tiny", "10", "6.50", "6.50", "10"]
    assert [line.split()[0] for line in lines[:3]] == ["second", "first", "third"]
    assert lines[4:] == ["what is not as in most of them:", lines[-1]]
    assert lines[-1].split() == ["second:", "optimizer.lr=0.002"]


def test_runs_as_json_and_as_a_page(root, tmp_path, capsys):
    assert main(["runs", str(root), "--json", "--html", str(tmp_path / "page.html")]) == 0
    best = json.loads(capsys.readouterr().out)[0]
    assert (best["name"], best["best_sdr"], best["settings"]["optimizer.lr"]) == ("second", 6.5, 0.002)
    assert "<svg" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("form", "status"), [(["--json"], 128 + signal.SIGPIPE), ([], 1)])  # rich has its own status
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(root, form, status):
    command = [sys.executable, "-m", "tfswa_unet", "runs", str(root), *form]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == status


def test_what_cannot_be_listed_or_written_is_one_sentence(root, tmp_path, capsys):
    assert main(["runs", str(tmp_path / "none")]) == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}/none is not a folder: give one that holds runs, as train.py makes them\n"
    )
    assert main(["runs", str(root), "--html", str(root / "first/config.yaml/page.html")]) == 1
    assert "give --html another file" in capsys.readouterr().err
