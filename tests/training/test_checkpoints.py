"""What a run keeps, however it ends, and that going on from it is the same as never having stopped."""

import csv
import errno
import os
import re
import shlex
import signal
import tempfile
import time
from pathlib import Path

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import Timer

from tests.commands import Running
from tests.small import write_songs
from tests.training.conftest import SMALL
from tfswa_unet import models
from tfswa_unet.bundle import save_bundle
from tfswa_unet.errors import ConfigError, RunError, StoppedError
from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit

# 12 steps of 4 an epoch, at a rate that does not depend on where a run ends.
WHOLE = ("trainer.max_epochs=3", "callbacks.early_stopping.patience=null", "scheduler.floor=1.0")


@pytest.fixture(autouse=True)
def _interruptible():
    """Python's own handler of Ctrl-C, which a test run in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def load(path):
    return torch.load(path, weights_only=True)


def weights(path):
    return torch.cat([value.flatten().float() for value in load(path)["state_dict"].values()])


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """The last state of a run of 12 steps that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    fit(make_config(*WHOLE), folder)
    return weights(folder / "checkpoints" / "last.ckpt")


@pytest.fixture
def with_callback(monkeypatch):
    """Let the runs of `fit` have one more callback."""

    def add(callback):
        def build(*arguments):
            run = build_run(*arguments)
            run.trainer.callbacks.insert(0, callback)
            return run

        monkeypatch.setattr(fitting, "build_run", build)

    return add


class At(Callback):
    """Do something once, before a step or in the first validation after it."""

    def __init__(self, step, act, validating=False):
        self.step, self.act, self.validating = step, act, validating

    def on_train_batch_start(self, trainer, *_):
        if not self.validating and trainer.global_step == self.step:
            self.act()

    def on_validation_batch_start(self, trainer, *_):
        if self.validating and trainer.global_step >= self.step:
            self.act()


def test_the_last_state_is_kept_when_scores_worsen(make_config, tmp_path, monkeypatch):
    steps = iter(range(100))
    monkeypatch.setattr("tfswa_unet.training.validation.METRICS", {"sdr": lambda *_: torch.tensor(-float(next(steps)))})
    best = fit(make_config(*WHOLE, "ema=none"), tmp_path)
    assert load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 12
    assert load(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 4
    assert best == -5.5  # the mean of four stems, behind the sanity check's four


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["trainer.max_steps=6"], 6),
        (["trainer.max_steps=4"], 4),
        (["trainer.max_steps=6", "trainer.limit_val_batches=0"], 6),
        (["trainer.max_epochs=2", "trainer.limit_val_batches=0"], 8),
        (["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=2"], 4),
        (["trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2"], 8),
    ],
    ids=str,
)
def test_a_run_goes_on_where_a_limit_ended_it(make_config, tmp_path, whole, overrides, steps):
    fit(make_config(*WHOLE, *overrides), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    assert load(last)["global_step"] == steps
    rest = [override for override in overrides if "max_" not in override]
    fit(make_config(*WHOLE, *rest, f"resume={last}"), tmp_path / "second")
    assert load(tmp_path / "second" / "checkpoints" / "last.ckpt")["global_step"] == 12
    assert torch.allclose(weights(tmp_path / "second" / "checkpoints" / "last.ckpt"), whole, atol=1e-7)


def test_a_run_goes_on_where_its_time_ended(make_config, tmp_path, whole, with_callback, monkeypatch, capfd):
    elapsed = {"steps": 0}
    monkeypatch.setattr(Timer, "time_elapsed", lambda *_: 1.0 * elapsed["steps"])
    with_callback(At(5, lambda: elapsed.update(steps=1000)))
    fit(make_config(*WHOLE, "trainer.max_time='00:00:10:00'"), tmp_path / "first")
    assert "ended after step 6: trainer.max_time=00:00:10:00 is over" in capfd.readouterr().err
    assert load(tmp_path / "first" / "checkpoints" / "last.ckpt")["global_step"] == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("step", "validating", "kept"), [(5, False, 6), (3, False, 4), (4, True, 4)])
def test_a_signal_stops_after_the_step(make_config, tmp_path, whole, with_callback, number, step, validating, kept):
    with_callback(At(step, lambda: os.kill(os.getpid(), number), validating))
    with pytest.raises(StoppedError) as stopped:
        fit(make_config(*WHOLE), tmp_path / "first")
    path = tmp_path / "first" / "checkpoints" / "interrupted.ckpt"
    assert str(stopped.value) == f"stopped by {number.name} after step {kept}: go on with resume={path}"
    assert stopped.value.status == 128 + number
    assert load(path)["global_step"] == kept
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)

    with_callback(Callback())
    fit(make_config(*WHOLE, f"resume={path}"), tmp_path / "second")
    assert torch.allclose(weights(tmp_path / "second" / "checkpoints" / "last.ckpt"), whole, atol=1e-7)


class BeforeTraining(Callback):
    """Send a signal before the first step."""

    def __init__(self, number):
        self.number = number

    def on_fit_start(self, *_):
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step_names_no_file_that_is_not_there(make_config, tmp_path, with_callback, number):
    with_callback(BeforeTraining(number))
    said = f"stopped by {number.name} before the first checkpoint: start it again"
    with pytest.raises(StoppedError, match=f"^{said}$") as stopped:
        fit(make_config(*WHOLE), tmp_path / "first")
    assert stopped.value.status == 128 + number
    assert not list(tmp_path.rglob("*.ckpt"))
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)

    gone = tmp_path / "first" / "checkpoints" / "last.ckpt"
    for named in (gone, gone.parent, gone.parent.parent):
        with pytest.raises(ConfigError) as refused:
            fit(make_config(*WHOLE, f"resume={named}"), tmp_path / "second")
        assert str(refused.value) == (
            f"resume={named}: no such checkpoint, since that run ended before its first one; start it again without "
            "resume="
        )


def test_a_signal_before_going_on_names_what_was_given(make_config, tmp_path, with_callback):
    fit(make_config(*WHOLE, "trainer.max_steps=2"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    with_callback(BeforeTraining(signal.SIGTERM))
    with pytest.raises(StoppedError, match=f"^stopped by SIGTERM after step 2: go on with resume={last}$"):
        fit(make_config(*WHOLE, f"resume={last}"), tmp_path / "second")
    with pytest.raises(ConfigError, match=rf"is a folder; expected a file, such as {last}$"):
        fit(make_config(*WHOLE, f"resume={last.parent.parent}"), tmp_path / "second")


def test_a_second_signal_stops_at_once(make_config, tmp_path, with_callback):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with_callback(At(5, twice))
    with pytest.raises(StoppedError) as stopped:
        fit(make_config(*WHOLE), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert str(stopped.value) == f"stopped by SIGINT after step 4: go on with resume={last}"
    assert load(last)["global_step"] == 4


def test_a_checkpoint_needs_no_room_elsewhere(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    fit(make_config("trainer.max_epochs=1"), tmp_path / "run")
    assert load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_an_error_leaves_the_state_to_go_on_from(make_config, tmp_path, whole, with_callback):
    def fail():
        raise ZeroDivisionError

    with_callback(At(6, fail))
    with pytest.raises(ZeroDivisionError):
        fit(make_config(*WHOLE), tmp_path / "first")
    path = tmp_path / "first" / "checkpoints" / "interrupted.ckpt"
    with_callback(Callback())
    fit(make_config(*WHOLE, f"resume={path}"), tmp_path / "second")
    assert torch.allclose(weights(tmp_path / "second" / "checkpoints" / "last.ckpt"), whole, atol=1e-7)


def test_minutes_write_the_last_state_within_an_epoch(make_config, tmp_path, with_callback):
    seen = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, *_):
            path = tmp_path / "checkpoints" / "last.ckpt"
            seen.append(load(path)["global_step"] if path.is_file() else None)

    with_callback(Look())
    fit(make_config("trainer.max_epochs=1", "callbacks.checkpoint.every_n_minutes=0"), tmp_path)
    assert seen == [None, 1, 2, 3]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, r"\(No space left on device\): make room for it there, then go on with resume="),
        (errno.EROFS, r"\(Read-only file system\): let files be written there, then go on with resume="),
    ],
)
def test_a_disk_that_takes_nothing_keeps_the_last_good_state(
    make_config, tmp_path, with_callback, monkeypatch, number, sentence
):
    run_folder = tmp_path / "run"

    def fill():
        def fsync(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    with_callback(At(6, fill))
    last = run_folder / "checkpoints" / "last.ckpt"
    with pytest.raises(RunError, match=rf"last\.ckpt cannot be written {sentence}{last}$"):
        fit(make_config(*WHOLE), run_folder)
    assert load(last)["global_step"] == 4
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt", "best.ckpt", "previous.ckpt"}


def test_a_folder_that_cannot_be_made_is_refused_before_training(make_config, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "run"
    told = rf"^the run's folder {folder} cannot be written \(Not a directory\): name another, hydra\.run\.dir=FOLDER$"
    with pytest.raises(RunError, match=told):
        build_run(make_config(), folder)


def test_an_error_in_validation_leaves_the_weights_in_their_places(make_config, tmp_path, with_callback):
    def fail():
        raise ZeroDivisionError

    with_callback(At(4, fail, validating=True))
    with pytest.raises(ZeroDivisionError):
        fit(make_config(*WHOLE, "ema.decay=0.9"), tmp_path)
    last, interrupted = (load(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("last", "interrupted"))
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, interrupted[key][name]) for name, value in last[key].items()), key


def test_a_silent_validation_does_not_end_the_run(make_config, tmp_path, capfd, caplog):
    songs = write_songs(tmp_path / "songs", [("train", "a"), ("train", "b")])
    write_songs(tmp_path / "songs", [("valid", "c")], level=0.0)
    best = fit(
        make_config("trainer.max_epochs=3", "callbacks.early_stopping.patience=1", f"data.root={songs}"),
        tmp_path / "run",
    )
    told = capfd.readouterr().err
    assert best != best
    assert caplog.text.count("validation has no SDR, since every stem is silent") == 1
    assert "ended after step 12: trainer.max_epochs=3 is reached" in told
    assert f"no validation gave an SDR; the last state: {tmp_path}/run/checkpoints/last.ckpt" in told.replace("\n", "")


def test_an_early_stop_says_why(make_config, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("tfswa_unet.training.validation.METRICS", {"sdr": lambda *_: torch.tensor(2.5)})
    fit(make_config("trainer.max_epochs=9", "callbacks.early_stopping.patience=2"), tmp_path)
    told = capfd.readouterr().err
    assert "ended after step 12: 2 validations in a row brought no better SDR than 2.50 dB" in told
    assert "best validation SDR 2.50 dB, step 4:" in told


def test_nothing_to_do_is_said(make_config, tmp_path, capfd):
    assert fit(make_config("trainer.max_steps=0"), tmp_path / "none") != 0
    told = capfd.readouterr().err
    assert "ended after step 0: trainer.max_steps=0 is reached" in told
    assert "no step was taken" in told
    fit(make_config(*WHOLE), tmp_path / "whole")
    last = tmp_path / "whole" / "checkpoints" / "last.ckpt"
    capfd.readouterr()
    fit(make_config(*WHOLE, f"resume={last}"), tmp_path / "again")
    told = capfd.readouterr().err
    assert "ended after step 12: trainer.max_epochs=3 is reached" in told
    assert "nan" not in told


def test_going_on_in_its_own_folder_keeps_the_metrics(make_config, tmp_path, with_callback):
    options = ("trainer.log_every_n_steps=1",)
    fit(make_config(*WHOLE, *options), tmp_path / "whole")
    with_callback(At(5, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(StoppedError) as stopped:
        fit(make_config(*WHOLE, *options), tmp_path / "run")
    with_callback(Callback())
    fit(make_config(*WHOLE, *options, f"resume={stopped.value.checkpoint}"), tmp_path / "run")
    rows = {}
    for name in ("whole", "run"):
        with (tmp_path / name / "csv" / "metrics.csv").open(newline="") as file:
            rows[name] = [(row["step"], row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert [step for step, _ in rows["run"]] == [str(step) for step in range(12)]
    losses = [[float(loss) for _, loss in rows[name]] for name in ("whole", "run")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.network.depths=[1,2]"], r"model\.network\.depths is \[1, 1\] there and \[1, 2\] here; go on with"),
        (["stems=vocals"], r"model\.stems.*there and.*here.*init_from="),
        (["optimizer=adam"], r"optimizer\.name is adamw there and adam here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(make_config, tmp_path, overrides, message):
    fit(make_config("trainer.max_epochs=1"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match=message) as refused:
        fit(make_config("trainer.max_epochs=2", f"resume={last}", *overrides), tmp_path / "second")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "second").exists()


def test_a_checkpoint_of_an_earlier_layout_is_refused(make_config, tmp_path):
    fit(make_config("trainer.max_epochs=1"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    checkpoint = load(last)
    checkpoint["state_dict"]["model.network.head.blocks.0.block.0.norm1.num_batches_tracked"] = torch.tensor(4)
    torch.save(checkpoint, last)
    with pytest.raises(ConfigError, match=r"written before the networks were laid out as they are now: .*init_from="):
        fit(make_config(f"resume={last}"), tmp_path / "second")


def test_what_is_no_checkpoint_is_refused(make_config, tmp_path):
    text = tmp_path / "notes.ckpt"
    text.write_text("not a checkpoint")
    model = models.build({**make_config()["model"], "stems": {"vocals": ["vocals"], "rest": "rest"}})
    bundle = save_bundle(tmp_path / "model.safetensors", model)
    for path in (text, bundle):
        with pytest.raises(
            ConfigError, match=r"is no checkpoint of a run; expected .*last\.ckpt; weights .*init_from="
        ):
            fit(make_config(f"resume={path}"), tmp_path / "run")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_ends_with_the_signals_status(songs, tmp_path, number, status):
    root = Path(__file__).parents[2]
    settings = [*SMALL, f"data.root={songs}", "trainer.max_epochs=100000", "data.samples_per_epoch=16"]
    command = [str(root / "train.py"), *settings, "paths.cache=cache", "hydra.run.dir=run", "data.workers=1"]
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    running = Running(*command, cwd=tmp_path)
    while running.process.is_alive() and not last.is_file():
        time.sleep(0.05)
    os.killpg(running.process.pid, number)  # as a terminal does, to the loader's workers too
    done = running.wait()
    told = done.stderr
    assert done.returncode == status, told
    going_on = shlex.join([*command, f"resume={last.with_name('interrupted.ckpt')}"])
    what = rf"error: stopped by {number.name} after step \d+: go on with python {re.escape(going_on)}\n"
    assert re.search(what, told)
    assert "Traceback" not in told
    assert load(last)["global_step"] == load(last.with_name("interrupted.ckpt"))["global_step"]
