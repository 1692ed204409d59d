"""Training broken off at a random moment goes on from a checkpoint at most one epoch old; FUZZ_RUNS says how often."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.small import write_songs
from tests.training.conftest import SMALL
from tfswa_unet.config import compose_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.training.fit import fit

RUNS = int(os.environ.get("FUZZ_RUNS", "2"))
WAYS = ("SIGKILL", "full disk", "SIGTERM", "SIGINT")
TRAIN = str(Path(__file__).parents[2] / "train.py")
SETTINGS = [
    *(override for override in SMALL if not override.startswith(("trainer.max_epochs", "callbacks.progress_bar"))),
    "trainer.max_epochs=-1",
    "trainer.log_every_n_steps=1",
    "callbacks.early_stopping.patience=null",
]


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


def train(folder, *overrides):
    command = [sys.executable, TRAIN, *overrides]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def break_off(process, way, generator, last):
    """Break a run off: mostly soon after last.ckpt is there, else at any time since its folder is."""
    while process.poll() is None and not last.parents[1].is_dir():
        time.sleep(0.02)
    patience = 1e9 if generator.random() < 0.75 else generator.uniform(0, 6)
    began = time.monotonic()
    while process.poll() is None and not last.is_file() and time.monotonic() - began < patience:
        time.sleep(0.02)
    if last.is_file():
        time.sleep(generator.uniform(0, 1.5))
    if way == "full disk":
        size = int(generator.integers(2) * generator.integers(1 << 17))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    else:  # as a terminal and a batch system do, to all its processes
        os.killpg(process.pid, getattr(signal, way))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no way to fill another process's disk")
@pytest.mark.parametrize("number", range(RUNS))
def test_a_run_broken_off_goes_on(number, songs, tmp_path):
    way, generator = WAYS[number % len(WAYS)], np.random.default_rng(number)
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    # The limit that stands for a full disk is also one for the memory that workers share.
    workers = 0 if way == "full disk" else int(generator.choice([0, 2]))
    samples = int(generator.choice([2, 8, 20]))
    more = [f"data.workers={workers}", f"data.samples_per_epoch={samples}", f"data.root={songs}"]
    overrides = [*SETTINGS, *more, f"paths.cache={songs}-cache", f"hydra.run.dir={run}"]
    with train(tmp_path, *overrides) as process:
        break_off(process, way, generator, last)
        _, told = process.communicate(timeout=120)

    # Of processes that are killed one by one, the last may still tell that another is gone.
    assert way == "SIGKILL" or "Traceback" not in told
    begun = (run / "config.yaml").is_file()
    statuses = {"SIGKILL": [-9], "full disk": [1], "SIGTERM": [143], "SIGINT": [130]}[way]
    assert process.returncode in (statuses if begun else [*statuses, -signal.SIGTERM]), told
    (error,) = re.findall("^error: (.*)$", told, re.MULTILINE) or [""]
    assert bool(error) == (process.returncode > 0)
    if way != "SIGKILL" and run.exists():
        assert not list(run.rglob(".*"))

    named = re.search(r"go on with python (.*)$", error)
    words = shlex.split(named[1]) if named else [TRAIN, *overrides, f"resume={last}"]
    path = Path(words[-1].removeprefix("resume="))
    assert named is None or path.is_file()
    assert words[0] == TRAIN
    settings = [word for word in words[1:] if not word.startswith("hydra.")]
    if not path.is_file():
        with pytest.raises(ConfigError, match=r"^resume=.*last\.ckpt: no such checkpoint.*$"):
            fit(compose_values("train", settings), run)
        return
    step = torch.load(path, weights_only=True)["global_step"]
    # A line of progress follows every validation, before which last.ckpt is written.
    shown = [int(found.replace(",", "")) for found in re.findall(r"step ([\d,]+)", told.partition("error: ")[0])]
    assert step >= max(shown, default=0)
    fit(compose_values("train", [*settings, f"trainer.max_steps={step + 2}"]), run)
    assert torch.load(last, weights_only=True)["global_step"] == step + 2
