"""eval.py killed by SIGKILL in the middle and started again scores what is missing, and ends with the same scores."""

import json
import multiprocessing
import os
import runpy
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.small import write_songs
from tfswa_unet.evaluation.scorer import ScoreStore

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a forked process cannot use a GPU")

ROOT = Path(__file__).parents[2]
SONGS = ("a", "b", "c")


def run_eval(folder, arguments, allowed):
    """Run eval.py in this process, which kills itself before it keeps more scores than are allowed."""
    enter, log = ScoreStore.enter, os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    left = [None] * allowed

    def count(*given):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left.pop()
        enter(*given)

    ScoreStore.enter = count
    os.chdir(folder)
    sys.argv = [str(ROOT / "eval.py"), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


@pytest.fixture
def evaluate(tmp_path):
    """Score another tool's stems of three songs; gives the exit status, and the files of scores with their times."""
    write_songs(tmp_path / "songs", [("test", name) for name in SONGS], samples=50_000)
    rng = np.random.default_rng(1)
    for song in SONGS:
        (tmp_path / "stems" / song).mkdir(parents=True)
        for stem in ("vocals", "no_vocals"):
            noise = 0.1 * rng.standard_normal((50_000, 2))
            soundfile.write(tmp_path / "stems" / song / f"{stem}.wav", noise, 44_100, subtype="FLOAT")

    def evaluate(out, allowed=100):
        options = ["estimates=stems", "data.root=songs", f"out={out}", "max_seconds=1", "pictures=0"]
        process = multiprocessing.get_context("fork").Process(target=run_eval, args=(tmp_path, options, allowed))
        process.start()
        process.join(300)
        found = {str(path.relative_to(tmp_path / out)): path.stat().st_mtime_ns for path in kept(tmp_path / out)}
        return process.exitcode, found

    return evaluate


def kept(out):
    return [path for path in out.glob("tracks/*/*.json") if not path.name.startswith(".")]


def read(path):
    """scores.json but for the date, as text."""
    record = json.loads(path.read_text())
    del record["date"]
    return json.dumps(record)


def test_only_what_was_missing_is_scored_and_the_scores_are_the_same(evaluate, tmp_path):
    status, before = evaluate("broken", allowed=5)
    assert status == -signal.SIGKILL
    assert sorted(before) == [
        "tracks/irm/a.json",
        *(f"tracks/{m}/{s}.json" for m in ("mixture", "model") for s in "ab"),
    ]
    assert not (tmp_path / "broken" / "scores.json").exists()
    status, after = evaluate("broken")
    assert status == 0, (tmp_path / "log").read_text()
    assert len(after) == 9
    assert {name: after[name] for name in before} == before
    assert evaluate("whole")[0] == 0
    assert "track 3 of 3, c: SDR so far" in (tmp_path / "log").read_text()
    assert read(tmp_path / "broken" / "scores.json") == read(tmp_path / "whole" / "scores.json")
    assert (tmp_path / "broken" / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()
    assert sorted(os.listdir(tmp_path / "broken")) == sorted(os.listdir(tmp_path / "whole"))
