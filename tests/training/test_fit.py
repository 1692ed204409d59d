"""Whole runs, small: what they leave behind, and that going on is the same as never having stopped."""

import csv

import pytest
import torch
from lightning import Callback

from tfswa_unet.bundle import load_model
from tfswa_unet.errors import ConfigError, RunError
from tfswa_unet.losses import objective
from tfswa_unet.training.builder import build_run, take_weights
from tfswa_unet.training.fit import fit


class StopAt(Callback):
    """Break a run off after a step, leaving a checkpoint."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True
            trainer.fit_loop.epoch_loop.min_steps = trainer.fit_loop.epoch_loop.max_steps = self.step


def _weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.model.parameters()])


def _rates(folder):
    with open(folder / "csv" / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row.get("lr-AdamW/pg1")]
    return {int(row["step"]): float(row["lr-AdamW/pg1"]) for row in rows}


def test_a_run_leaves_checkpoints_logs_and_its_configuration(config, tmp_path):
    best = fit(config("trainer.max_epochs=2", "logger=default", "callbacks.samples.every_n_epochs=1"), tmp_path)
    assert torch.isfinite(torch.tensor(best))
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "run.json", "csv/metrics.csv"):
        assert (tmp_path / name).is_file(), name
    with open(tmp_path / "csv" / "metrics.csv") as file:
        logged = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    assert {"val/sdr", "val/sdr_vocals", "val/sdr_bass", "epoch"} <= logged
    events = next((tmp_path / "tensorboard").glob("events*")).read_bytes()
    for tag in (b"samples/spectrograms", b"samples/mixture", b"samples/drums", b"samples/drums_true"):
        assert tag in events
    model = load_model(tmp_path / "checkpoints" / "last.ckpt")
    assert model.stems == ("vocals", "drums", "bass", "other")


@pytest.mark.parametrize("step", [4, 6])  # at the end of the first epoch, and in the middle of the second
def test_resumed_equals_uninterrupted(config, tmp_path, step):
    options = ("trainer.max_epochs=3", "trainer.log_every_n_steps=1", "callbacks.early_stopping.patience=null")
    whole = build_run(config(*options), tmp_path / "whole")
    whole.trainer.fit(whole.module, whole.data)

    first = build_run(config(*options), tmp_path / "first")
    first.trainer.callbacks.append(StopAt(step, tmp_path / "broken.ckpt"))
    first.trainer.fit(first.module, first.data)
    assert first.trainer.global_step == step

    second = build_run(config(*options, f"resume={tmp_path / 'broken.ckpt'}"), tmp_path / "second")
    second.trainer.fit(second.module, second.data, ckpt_path=second.resume.path, weights_only=True)
    assert second.trainer.global_step == whole.trainer.global_step == 12
    assert torch.allclose(_weights(second.module), _weights(whole.module), atol=1e-7)

    expected = _rates(tmp_path / "whole")
    resumed = _rates(tmp_path / "second")
    assert min(resumed) >= step
    assert resumed == pytest.approx({at: rate for at, rate in expected.items() if at in resumed})
    moments = [next(iter(run.trainer.optimizers[0].state.values()))["step"].item() for run in (whole, second)]
    assert moments[0] == moments[1]


def test_training_lowers_the_loss(config, tmp_path):
    run = build_run(config("trainer.max_epochs=8", "optimizer.lr=1e-2", "data.mixing.mode=song"), tmp_path)
    batch = next(iter(run.data.ready().train_dataloader()))
    before = objective(run.module.model, run.module.loss, batch, 0)[0].item()
    run.trainer.fit(run.module, run.data)
    assert objective(run.module.model, run.module.loss, batch, 0)[0].item() < before


def test_init_from_takes_the_weights(config, tmp_path):
    fit(config("trainer.max_epochs=1"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    run = build_run(config(f"init_from={last}"), tmp_path / "second")
    for ours, theirs in zip(run.module.model.parameters(), load_model(last).parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module")
def narrow(make_config, tmp_path_factory):
    """A checkpoint of a model with fewer channels in its deepest stage."""
    folder = tmp_path_factory.mktemp("narrow")
    fit(make_config("trainer.max_steps=1"), folder)
    return folder / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("change", ["model.network.widths=[8,24]", "model.network.depths=[1,2]"])
def test_init_from_takes_what_fits_where_that_is_wanted(config, tmp_path, narrow, change, caplog):
    with pytest.raises(ConfigError, match=rf"^init_from={narrow} does not fit this model: network\.\S+ is \S.* there "):
        build_run(config(f"init_from={narrow}", change), tmp_path)
    run = build_run(config(f"init_from={narrow}", "init_strict=false", change), tmp_path)
    theirs = load_model(narrow).state_dict()
    ours = run.module.model.state_dict()
    fitting = [name for name in ours if name in theirs and ours[name].shape == theirs[name].shape]
    unfit = len({*ours, *theirs}) - len(fitting)
    assert unfit > 0
    assert all(torch.equal(ours[name], theirs[name]) for name in fitting)
    assert f"init_from={narrow}: {len(fitting)} weights are taken, {unfit} do not fit: network." in caplog.text


def test_init_from_a_model_of_which_nothing_fits_is_refused(narrow):
    with pytest.raises(ConfigError, match=r"does not fit this model: weight is missing there and \(2, 2\) here, bias"):
        take_weights(torch.nn.Linear(2, 2), str(narrow), strict=False)


def test_a_non_finite_step_is_skipped_and_counted(config, tmp_path):
    run = build_run(config("trainer.max_epochs=1", "trainer.log_every_n_steps=1"), tmp_path)

    class Poison(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 1:
                next(pl_module.parameters()).grad.fill_(float("nan"))

    run.trainer.callbacks.append(Poison())
    run.trainer.fit(run.module, run.data)
    assert run.module.skipped == 1
    assert torch.isfinite(_weights(run.module)).all()
    with open(tmp_path / "csv" / "metrics.csv") as file:
        assert next(csv.DictReader(file)).keys() >= {"train/skipped"}


def test_a_batch_that_is_not_finite_leaves_no_trace_in_the_model(config, tmp_path):
    norms = [f"model.network.{key}" for key in ("convolutions=[4]", "patch=null", "detail=null")]
    run = build_run(config("trainer.max_steps=3", *norms), tmp_path)

    class Spoil(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, index):
            self.before = {name: value.clone() for name, value in pl_module.state_dict().items()}
            if trainer.global_step == 2:
                batch[0, 0, 0, 7] = float("inf")

    spoil = Spoil()
    run.trainer.callbacks.append(spoil)
    run.trainer.fit(run.module, run.data)
    assert run.module.skipped == 1
    after = run.module.state_dict()
    assert any(name.endswith("running_mean") for name in after)
    assert all(torch.equal(value, after[name]) for name, value in spoil.before.items() if "num_batches" not in name)


def test_a_loss_that_is_not_finite_spoils_its_gradient(config, tmp_path, monkeypatch):
    run = build_run(config(), tmp_path)
    monkeypatch.setattr(
        "tfswa_unet.training.module.objective", lambda model, *_: (next(model.parameters()).sum() + torch.inf, {})
    )
    run.module.training_step(torch.zeros(1), 0).backward()
    assert next(run.module.model.parameters()).grad.isnan().all()


def test_many_non_finite_steps_stop_the_run(config, tmp_path):
    run = build_run(config("trainer.max_epochs=1", "optimizer.lr=0"), tmp_path)
    run.module.max_skipped = 3
    next(run.module.model.parameters()).data.fill_(float("nan"))
    kept = tmp_path / "checkpoints" / "not_finite_0.pt"
    told = rf"^the loss or its gradient was not finite for 3 steps in a row, up to step 2: look .*kept in {kept}, .*lr"
    with pytest.raises(RunError, match=told):
        run.trainer.fit(run.module, run.data)
    assert (tmp_path / "checkpoints" / "interrupted.ckpt").is_file()
    batch = torch.load(kept, weights_only=True)
    assert {name: batch[name] for name in ("seed", "epoch", "batch")} == {"seed": 0, "epoch": 0, "batch": 2}
    assert torch.equal(batch["stems"], next(iter(run.data.train_dataloader())))  # from which a run would go on


@pytest.mark.parametrize("precision", ["strategy=bf16", "strategy=[bf16,checkpoint]"])
def test_mixed_precision_on_the_cpu(config, tmp_path, precision):
    run = build_run(config("trainer.max_epochs=1", precision), tmp_path)
    run.trainer.fit(run.module, run.data)
    assert run.module.skipped == 0
    assert torch.isfinite(_weights(run.module)).all()
    assert run.module.model.network.checkpointing == ("checkpoint" in precision)


def test_a_network_that_cannot_be_compiled_is_one_sentence(config, tmp_path, monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def fail(*_):
        raise TorchDynamoException("backend='inductor' raised:\nRuntimeError: x\n\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr("tfswa_unet.training.module.SeparationModule.validation_step", fail)
    told = (
        r"^strategy=compile: torch\.compile failed here \(backend='inductor' raised: RuntimeError: x\): leave it out$"
    )
    with pytest.raises(ConfigError, match=told):
        fit(config("strategy=compile"), tmp_path / "compiled")
    with pytest.raises(TorchDynamoException):
        fit(config(), tmp_path / "plain")
