"""tfswa compare and tfswa results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.records import write_result
from tfswa_unet.cli import main


@pytest.fixture
def two(tmp_path):
    for name, more in (("one", 0.0), ("other", 0.5)):
        tracks = {f"song {n}": {"vocals": {"SDR": n + more}, "bass": {"SDR": n - more}} for n in range(8)}
        write_result(tmp_path / "runs" / name / "scores", tracks)
    return tmp_path / "runs"


def test_two_evaluations_are_compared_stem_by_stem(two, capsys):
    assert main(["compare", str(two / "one" / "scores"), str(two / "other" / "scores")]) == 0
    _, headings, vocals, bass, average, *_, told = capsys.readouterr().out.splitlines()
    assert headings.split() == ["stem", "tracks", "A", "B", "B", "−", "A", "95", "%", "interval"]
    assert vocals.split()[:5] == ["vocals", "8", "3.50", "4.00", "+0.50"]
    assert vocals.rstrip().endswith("more than chance")
    assert bass.split()[:5] == ["bass", "8", "3.50", "3.00", "-0.50"]
    assert average.split()[4] == "+0.00"
    assert told.startswith("other/scores is 0.00 dB SDR above one/scores on average of the stems, over 8 tracks")


def test_a_comparison_as_json(two, capsys):
    assert main(["compare", str(two / "one" / "scores" / "scores.json"), str(two / "other" / "scores"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["mean"] for row in found["differences"]] == [0.5, -0.5, 0.0]
    assert [row["certain"] for row in found["differences"]] == [True, True, False]


def test_eval_py_compares_too(two):
    command = [sys.executable, "eval.py", "compare", str(two / "one" / "scores"), str(two / "none")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.strip().endswith("cannot be read (No such file or directory): give the folder of an evaluation")
    assert done.stderr.count("\n") == 1


def test_results_are_one_page(two, tmp_path, capsys):
    assert main(["results", str(two), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == f"2 evaluations: {tmp_path / 'page.html'}\n"
    page = (tmp_path / "page.html").read_text()
    assert "one/scores" in page
    assert "Open-Unmix" in page
    assert main(["results", str(two), "-o", str(tmp_path / "page.html"), "--no-published"]) == 0
    assert "Open-Unmix" not in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_one_sentence(two, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["results", str(two), "-o", str(tmp_path / "file" / "page.html")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file' / 'page.html'} cannot be written")
