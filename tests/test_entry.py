"""train.py and eval.py as a user runs them: what is wrong is one sentence, status 1, and nothing is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _run(script, *arguments, cwd):
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("train.py", ["model=tfswa_huge"], "model/tfswa_huge"),
        ("train.py", ["optimizer.learning_rate=1"], "optimizer.learning_rate"),
        ("train.py", ["data.root=nowhere"], "data=synthetic"),
        ("eval.py", [], "ckpt"),
        ("eval.py", ["ckpt=gone.ckpt"], "gone.ckpt: no such bundle or checkpoint"),
    ],
)
def test_mistakes_end_with_one_sentence(tmp_path, script, arguments, sentence):
    done = _run(script, *arguments, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert lines[-1].startswith("error: ")
    assert len(lines) == 1, done.stderr
    assert sentence in lines[0]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_help_lists_the_groups(tmp_path):
    done = _run("train.py", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for choice in ("tfswa_base", "vocals_accompaniment", "musdb18hq", "strong", "cosine", "checkpoint", "wandb"):
        assert choice in done.stdout
