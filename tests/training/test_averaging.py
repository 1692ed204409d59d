"""The moving average of the weights against its recursion, over whole runs, interrupted ones, and in bundles."""

import os
import signal

import pytest
import torch
from lightning import Callback

from tfswa_unet.bundle import load_model, read_facts, save_bundle
from tfswa_unet.errors import ConfigError, StoppedError
from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit
from tfswa_unet.training.optimization import AveragedWeights

DECAY = 0.4  # is reached in the warm-up, after (1 + 5) / (10 + 5)
STEPS = 8  # of 4 an epoch
RUN = ("trainer.max_epochs=2", "callbacks.early_stopping.patience=null", "optimizer.lr=1e-2", "scheduler.floor=1.0")
AVERAGE = f"ema.decay={DECAY}"


def flat(state):
    return torch.cat([value.flatten().float() for value in state.values()])


class Recorder(Callback):
    """The weights after each step, those that each epoch is validated with, and the metrics of that."""

    def __init__(self):
        self.raw, self.validated, self.metrics = [], [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.raw.append(flat(pl_module.model.state_dict()).clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        if not trainer.sanity_checking and len(self.validated) < trainer.current_epoch + 1:
            separators = pl_module._validation.separators
            self.validated.append({name: flat(each.model.state_dict()).clone() for name, each in separators.items()})

    def on_validation_end(self, trainer, *_):
        if not trainer.sanity_checking:
            self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def trained(values, folder):
    recorder, run = Recorder(), build_run(values, folder)
    run.trainer.callbacks.insert(0, recorder)
    run.trainer.fit(run.module, run.data)
    return recorder


def average(raw, decay):
    """Averages after each step by the recursion: a copy at first, then a share of what is new."""
    found = [raw[0]]
    for n, weights in enumerate(raw[1:], 1):
        kept = min(decay, (1 + n) / (10 + n))
        found.append(kept * found[-1] + (1 - kept) * weights)
    return found


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """A run that nothing stopped: its folder and what it recorded."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, trained(make_config(*RUN, AVERAGE), folder)


def load(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def assert_same(checkpoint, other):
    for key in ("state_dict", "current_model_state"):
        assert torch.allclose(flat(checkpoint[key]), flat(other[key]), atol=1e-6), key


def test_a_checkpoint_holds_the_average_and_beside_it_the_raw_weights(whole):
    folder, recorder = whole
    checkpoint = load(folder)
    assert len(recorder.raw) == checkpoint["global_step"] == STEPS
    averages = average(recorder.raw, DECAY)
    assert torch.equal(flat(checkpoint["current_model_state"]), recorder.raw[-1])
    assert torch.allclose(flat(checkpoint["state_dict"]), averages[-1], atol=1e-6)
    assert (averages[-1] - recorder.raw[-1]).abs().max() > 1e-3
    assert (average(recorder.raw, 0.9)[-1] - averages[-1]).abs().max() > 1e-4  # the warm-up has ended


def test_the_average_is_validated_beside_the_raw_weights_which_are_trained_on(whole, make_config, tmp_path):
    folder, recorder = whole
    averages = average(recorder.raw, DECAY)
    assert len(recorder.validated) == 2
    for weights, *expected in zip(recorder.validated, averages[3::4], recorder.raw[3::4], strict=True):
        assert list(weights) == ["val", "val_raw"]
        for ours, theirs in zip(weights.values(), expected, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)
    plain = trained(make_config(*RUN, "ema=none"), tmp_path)
    for ours, theirs in zip(recorder.raw, plain.raw, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert list(plain.validated[-1]) == ["val"]
    assert torch.equal(plain.validated[-1]["val"], plain.raw[-1])
    assert "current_model_state" not in load(tmp_path)
    for ours, theirs in zip(recorder.metrics, plain.metrics, strict=True):
        for metric in ("sdr", "sdr_drums", "si_sdr"):
            assert ours[f"val_raw/{metric}"] == pytest.approx(theirs[f"val/{metric}"], abs=1e-3)
        assert ours["val/sdr"] != ours["val_raw/sdr"]
    best = load(folder, "best")
    assert best["callbacks"]["Checkpoints"]["best_score"] == max(each["val/sdr"] for each in recorder.metrics)


def test_a_run_that_goes_on_without_the_average_takes_the_raw_weights(whole, make_config, tmp_path):
    folder, recorder = whole
    last = folder / "checkpoints" / "last.ckpt"
    run = build_run(make_config(*RUN, "ema=none", f"resume={last}"), tmp_path)
    run.trainer.fit(run.module, run.data, ckpt_path=last, weights_only=True)
    assert run.trainer.global_step == STEPS
    assert torch.equal(flat(run.module.model.state_dict()), recorder.raw[-1])


class Stop(Callback):
    """Send SIGTERM before a step, or in the validation after it."""

    def __init__(self, step, validating):
        self.step, self.validating = step, validating

    def on_train_batch_start(self, trainer, *_):
        if not self.validating and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_batch_start(self, trainer, *_):
        if self.validating and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("step", "validating", "kept"), [(2, False, 3), (4, True, 4)])
def test_interrupted_and_resumed_equals_uninterrupted(
    whole, make_config, tmp_path, monkeypatch, step, validating, kept
):
    folder, recorder = whole

    def build(*arguments):
        run = build_run(*arguments)
        run.trainer.callbacks.insert(0, Stop(step, validating))
        return run

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "build_run", build)
        with pytest.raises(StoppedError):
            fit(make_config(*RUN, AVERAGE), tmp_path / "first")
    broken = load(tmp_path / "first", "interrupted")
    assert broken["global_step"] == kept
    assert torch.allclose(flat(broken["current_model_state"]), recorder.raw[kept - 1], atol=1e-6)
    assert torch.allclose(flat(broken["state_dict"]), average(recorder.raw, DECAY)[kept - 1], atol=1e-6)
    resume = f"resume={tmp_path / 'first' / 'checkpoints' / 'interrupted.ckpt'}"
    fit(make_config(*RUN, AVERAGE, resume), tmp_path / "second")
    assert_same(load(tmp_path / "second"), load(folder))


def test_bundles_take_the_average(whole, tmp_path):
    folder, recorder = whole
    last = folder / "checkpoints" / "last.ckpt"
    model = load_model(last)
    expected = average(recorder.raw, DECAY)[-1]
    assert torch.allclose(flat(model.state_dict()), expected, atol=1e-6)
    facts = read_facts(last)
    bundle = save_bundle(tmp_path / "small.safetensors", model, facts["training"])
    assert torch.allclose(flat(load_model(bundle).state_dict()), expected, atol=1e-6)
    assert read_facts(bundle)["training"]["averaged"] is True


@pytest.mark.parametrize("decay", [0, 1, -0.5, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    told = rf"^ema\.decay is {decay:g}, expected between 0 and 1, or ema=none$"
    with pytest.raises(ConfigError, match=told):
        AveragedWeights(decay)
