"""What a run costs, as it says itself: while it goes on, and in the table at its end."""

import csv
import io
import math
import re
import shlex
import time
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from tests.commands import run
from tests.small import write_songs
from tfswa_unet.data import DataSet
from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.figures import REST, Clock, Figures, eval_command, summary
from tfswa_unet.training.fit import fit
from tfswa_unet.training.optimization import SDR
from tfswa_unet.training.samples import Samples

SLEEP = 0.2


class Slow(Callback):
    """Take time in validation alone."""

    def on_validation_batch_start(self, trainer, *_):
        time.sleep(SLEEP)


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory):
    """A run of two epochs that validates slowly: its trainer, its figures, its folder, what it printed."""
    folder, runs, told = tmp_path_factory.mktemp("run"), [], io.StringIO()

    def build(*arguments):
        runs.append(build_run(*arguments))
        runs[0].trainer.callbacks.insert(0, Slow())
        return runs[0]

    with pytest.MonkeyPatch.context() as patched, redirect_stderr(told):
        patched.setattr(fitting, "build_run", build)
        fit(make_config("trainer.max_epochs=2", "trainer.log_every_n_steps=2"), folder)
    figures = next(each for each in runs[0].trainer.callbacks if isinstance(each, Figures))
    return runs[0].trainer, figures, folder, told.getvalue()


def test_figures_are_logged_and_add_up(finished):
    _, figures, folder, _ = finished
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("run/waiting")]
    assert [int(row["step"]) for row in rows] == [1, 3, 5, 7]
    for row in rows:
        assert 0 <= float(row["run/waiting"]) <= 1
        assert 0 <= float(row["run/aside"]) <= 1
        assert float(row["run/segments_per_second"]) > 0
        assert 0.1 < float(row["run/memory_gb"]) < 100
    shares = figures.shares()
    assert list(shares) == ["training", "waiting for data", "validation", "checkpoints", REST]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["training"] > 0
    assert shares["validation"] * figures.seconds >= 2 * SLEEP
    assert figures.segments == 16


def test_the_summary_says_what_came_out_and_how_to_go_on(finished):
    _, figures, folder, told = finished
    best = folder / "checkpoints" / "best.ckpt"
    assert re.search(r"^8 steps, \d+:\d\d, [\d.]+ segments/s, [\d.]+ GB memory$", told, re.MULTILINE)
    assert re.search(
        r"^time: training [\d.]+ %, waiting for data .*, logging and the rest [\d.]+ %$", told, re.MULTILINE
    )
    assert f"bundle it: tfswa bundle {best} -o model.safetensors" in told
    cells = re.search(r"│ mean +│" + 4 * r" +(\S+) │", told).groups()
    scores = [of[name] for of in (figures.best, figures.last) for name in ("val/sdr", "val_raw/sdr")]
    assert cells == tuple(f"{score:.2f}" for score in scores)
    assert max(len(line) for line in told.splitlines() if "│" in line) <= 80
    command = shlex.split(re.search(r"^score it:  python (.*)$", told, re.MULTILINE)[1])
    root = Path(__file__).parents[2]
    words = [
        str(root / command[0]),
        *command[1:],
        "segment=1",
        "overlap=0.2",
        "metrics=sdr",
        "pictures=0",
        "report=false",
    ]
    done = run(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (best.parent / "scores-best-test" / "scores.json").is_file()


def test_the_best_scores_are_kept_with_the_run(finished):
    _, figures, folder, _ = finished
    again = Figures(SDR)
    again.load_state_dict(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["Figures"])
    assert again.best == figures.best
    assert again.last == figures.last


def test_a_run_without_a_score_or_a_step_has_a_summary_too(capsys):
    Console().print(summary(Figures(SDR), SimpleNamespace(global_step=0), None, {}))
    assert capsys.readouterr().out.strip() == ""
    figures = Figures(SDR)
    figures.last = {"step": 4, "val/sdr": math.nan, "val/sdr_vocals": math.nan}
    Console().print(summary(figures, SimpleNamespace(global_step=4), None, {}))
    assert re.search(r"vocals +│ +– │ +– │", capsys.readouterr().out)


def test_the_command_to_score_names_the_data(tmp_path):
    songs = write_songs(tmp_path / "songs", samples=2_000)
    own = write_songs(tmp_path / "own", [("", "a"), ("", "b")], samples=2_000)
    musdb, folders = DataSet("musdb18hq", str(songs), 1.0), DataSet("folders", str(own), 1.0)
    rendered = DataSet("musdb18hq", str(tmp_path / "other"), 1.0)
    ckpt = Path("a b.ckpt")
    assert eval_command(ckpt, {"musdb18hq": musdb}) == f"python eval.py 'ckpt=a b.ckpt' data.root={songs}"
    assert eval_command(ckpt, {"mine": folders}).endswith(f"data=folders data.root={own} split=valid")
    both = eval_command(ckpt, {"synthetic": musdb, "rendered": rendered, "mine": folders})
    assert both.endswith(f"'data=[musdb18hq,folders]' data.sets.musdb18hq.root={songs} data.sets.folders.root={own}")


def test_the_clock_counts_known_actions_alone():
    counted = Clock()
    for action in ("run_training_batch", "something else"):
        with counted.profile(action):
            time.sleep(0.01)
    assert list(counted.seconds) == ["training"]
    assert counted.seconds["training"] >= 0.01


def test_the_clock_counts_no_moment_twice(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    counted = Clock()
    counted.start("validation")
    counted.start("save_checkpoint")
    counted.stop("save_checkpoint")
    counted.stop("validation")
    assert counted.seconds == {"checkpoints": 2, "validation": 8}


def test_panels_show_mixture_estimates_and_truth_in_wandb(monkeypatch, tmp_path):
    logged = {}
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    logger._experiment = SimpleNamespace(log=lambda values, commit: logged.update(values))
    monkeypatch.setattr(WandbLogger, "experiment", property(lambda self: self._experiment))
    stems = 0.1 * torch.randn(3, 2, 30_000, generator=torch.Generator().manual_seed(0))
    names = ("vocals", "drums")
    module = SimpleNamespace(
        model=SimpleNamespace(rate=2_000), separate=lambda mixture: dict.fromkeys(names, mixture.numpy() / 2)
    )
    trainer = SimpleNamespace(
        sanity_checking=False,
        is_global_zero=True,
        current_epoch=4,
        global_step=7,
        loggers=[logger],
        datamodule=SimpleNamespace(validation=[stems]),
    )
    Samples(4).on_validation_end(trainer, module)
    true = {f"samples/{name}_true" for name in names}
    assert logged.keys() == {"samples/spectrograms", "samples/mixture", *(f"samples/{n}" for n in names), *true}
    assert logged["samples/drums_true"]._duration == 10
    assert np.asarray(logged["samples/spectrograms"].image).shape[1] > 1_000
    logged.clear()
    trainer.current_epoch = 5
    Samples(4).on_validation_end(trainer, module)
    assert not logged
