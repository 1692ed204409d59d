"""The one line that tells how far a run is."""

import re
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from tfswa_unet.training.fit import fit
from tfswa_unet.training.optimization import run_progress
from tfswa_unet.training.progress import describe


def trainer(step, epoch, *, max_steps=-1, max_epochs=-1, seconds=None, elapsed=0.0):
    callbacks = []
    if seconds is not None:
        timer = Timer(duration={"seconds": seconds})
        timer.time_elapsed = lambda _stage: elapsed
        callbacks.append(timer)
    return SimpleNamespace(
        global_step=step,
        current_epoch=epoch,
        num_training_batches=10,
        accumulate_grad_batches=2,
        max_steps=max_steps,
        max_epochs=max_epochs,
        callbacks=callbacks,
    )


@pytest.mark.parametrize(
    ("run", "place"),
    [
        (trainer(12, 2, max_epochs=4), "epoch 3 step 12/20"),
        (trainer(1_234, 246, max_steps=5_000), "epoch 247 step 1,234/5,000"),
        (trainer(12, 2, seconds=340, elapsed=151), "epoch 3 step 12 2:31/5:40"),
        (trainer(12, 2, seconds=86_400, elapsed=5_025), "epoch 3 step 12 1:23:45/24:00:00"),
        (trainer(12, 2), "epoch 3 step 12"),
    ],
)
def test_the_line_names_the_place_in_the_budget(run, place):
    assert describe(run, None, None, None) == place
    assert describe(run, 0.12341, "SDR 4.57 dB", 38.21) == f"{place}  loss 0.123  SDR 4.57 dB  38.2 seg/s"


@pytest.mark.parametrize("budget", [{"max_steps": 1_000_000}, {"seconds": 999_999, "elapsed": 99_999}])
def test_the_line_fits_80_columns(budget):
    assert len(describe(trainer(123_456, 998, **budget), -1.234e-5, "SDR -12.35 dB", 1234.5)) <= 80


def test_the_share_follows_steps_or_time_whichever_is_further():
    assert run_progress(trainer(5, 1, max_epochs=4)).share == 0.25
    assert run_progress(trainer(5, 1, max_epochs=4, max_steps=10)).share == 0.5
    assert run_progress(trainer(5, 1, max_epochs=4, seconds=100, elapsed=75)).share == 0.75
    assert run_progress(trainer(5, 1, max_epochs=4)).epoch == 1.0


def test_a_run_tells_after_each_validation_where_there_is_no_terminal(config, tmp_path, capfd):
    fit(config("trainer.max_epochs=2", "callbacks.progress_bar=true"), tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("epoch ")]
    form = r"epoch {} step {}/8  loss -?[\d.e-]+  SDR -?[\d.]+ dB  [\d.]+ seg/s"
    assert len(lines) == 2
    for line, place in zip(lines, [(1, 4), (2, 8)], strict=True):
        assert re.fullmatch(form.format(*place), line), line
