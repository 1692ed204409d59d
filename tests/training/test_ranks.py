"""Several processes train as one would, and do not train where they do not hold the same."""

import csv
import shutil

import pytest
import torch
from lightning import Callback

from tests.training.processes import together
from tfswa_unet.bundle import load_model
from tfswa_unet.errors import ConfigError
from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit
from tfswa_unet.training.ranks import refuse_differences
from tfswa_unet.training.sharding import share_buffers

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a forked process cannot train where a GPU is")

# Steps of four examples in all, and an average over examples as loss.
GLOBAL_BATCH = (
    "trainer.max_epochs=2",
    "data.samples_per_epoch=8",
    "loss=waveform",
    "ema=none",
    "callbacks.early_stopping.patience=null",
    "scheduler.floor=1.0",  # rates that do not depend on where a run ends
    "trainer.log_every_n_steps=1",
)
TWO = ("trainer.devices=2", "data.batch_size=2")


def load(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def scores(folder):
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return [float(row["val/sdr"]) for row in csv.DictReader(file) if row["val/sdr"]]


@pytest.fixture(scope="module")
def alone(make_config, tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    fit(make_config(*GLOBAL_BATCH, "data.batch_size=4"), folder)
    return folder


def assert_like(alone, folder):
    """Assert that a run ended as the one of a single process did."""
    ours, theirs = load(folder), load(alone)
    assert ours["global_step"] == theirs["global_step"] == 4
    for name, value in theirs["state_dict"].items():
        assert torch.allclose(ours["state_dict"][name], value, atol=1e-5), name
    assert scores(folder) == pytest.approx(scores(alone), abs=1e-3)


def test_two_processes_end_like_one_with_the_same_global_batch(make_config, tmp_path, alone):
    values = make_config(*GLOBAL_BATCH, *TWO, "strategy=ddp")
    assert together(fit, [(values, tmp_path)] * 2) == ([0, 0], {})
    assert_like(alone, tmp_path)
    fresh = build_run(values, tmp_path / "fresh").module.state_dict()
    assert max((value - fresh[name]).abs().max() for name, value in load(tmp_path)["state_dict"].items()) > 1e-3


@pytest.mark.slow
def test_a_sharded_run_leaves_whole_checkpoints_and_goes_on_from_them(make_config, tmp_path, alone):
    sharded = (*GLOBAL_BATCH, *TWO, "strategy=fsdp")
    first, then = make_config(*sharded, "trainer.max_steps=2"), make_config(*sharded, "resume=auto")
    assert together(fit, [(first, tmp_path / "two")] * 2) == ([0, 0], {})
    last = tmp_path / "two" / "checkpoints" / "last.ckpt"
    assert load_model(last).stems == ("vocals", "drums", "bass", "other")
    shutil.copytree(tmp_path / "two", tmp_path / "one")

    assert together(fit, [(then, tmp_path / "two")] * 2) == ([0, 0], {})
    assert_like(alone, tmp_path / "two")
    fit(make_config(*GLOBAL_BATCH, "data.batch_size=4", "resume=auto"), tmp_path / "one")
    assert_like(alone, tmp_path / "one")


def test_processes_of_different_settings_do_not_train(make_config, tmp_path):
    ours, theirs = (make_config(*TWO, "strategy=ddp", f"optimizer.lr={lr}") for lr in (1e-3, 2e-3))
    statuses, raised = together(fit, [(ours, tmp_path), (theirs, tmp_path)])
    told = (
        "ConfigError: process 1 of 2 is not of the same run as process 0: optimizer.lr is 0.001 there and 0.002 here; "
        "start all of them with the same command, code and songs"
    )
    assert raised == {0: told, 1: told}
    assert 0 not in statuses
    assert not list(tmp_path.rglob("*.ckpt"))


def _with_other_weights(values, folder, other):
    def build(*arguments):
        run = build_run(*arguments)
        if other:
            next(run.module.model.parameters()).data[0] += 1e-6
        return run

    fitting.build_run = build
    fit(values, folder)


def test_processes_of_different_weights_do_not_train(make_config, tmp_path):
    values = make_config(*TWO, "strategy=ddp")
    _, raised = together(_with_other_weights, [(values, tmp_path, False), (values, tmp_path, True)])
    assert set(raised) == {0, 1}
    assert all("the hash of the initial weights is " in told for told in raised.values())


def test_what_differs_is_named_and_what_does_not_is_let_pass():
    refuse_differences([{"seed": 1, "model": {"hop": 2}}] * 3)
    with pytest.raises(
        ConfigError, match=r"^process 2 of 3 is .* as process 0: model\.hop is 2 there and 3 here; start"
    ):
        refuse_differences([{"model": {"hop": hop}} for hop in (2, 2, 3)])


class Fail(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 1:
            raise ZeroDivisionError


def _with_an_error(values, folder, failing):
    def build(*arguments):
        run = build_run(*arguments)
        run.trainer.callbacks[:0] = [Fail()] if failing else []
        return run

    fitting.build_run = build
    fit(values, folder)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_the_others(make_config, tmp_path, rank):
    values = make_config(*TWO, "strategy=ddp")
    statuses, raised = together(_with_an_error, [(values, tmp_path, each == rank) for each in (0, 1)])
    assert raised[rank] == "ZeroDivisionError: "
    assert 0 not in statuses
    assert not any(status < 0 for status in statuses)  # which the test would have had to kill


def test_an_average_of_sharded_weights_is_refused(make_config, tmp_path):
    told = r"^strategy=fsdp has no average of the weights.*: set ema\.decay=null, or train by strategy=ddp$"
    with pytest.raises(ConfigError, match=told):
        build_run(make_config("strategy=fsdp", "ema.decay=0.9"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _share(rank):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2, init_method="env://")
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    network[0].running_mean.fill_(rank)
    share_buffers(network.eval(), None)
    assert torch.equal(network[0].running_mean, torch.full([3], float(rank)))
    share_buffers(network.train(), None)
    assert torch.equal(network[0].running_mean, torch.zeros(3))


def test_running_statistics_are_those_of_the_first_process_in_training():
    assert together(_share, [(0,), (1,)]) == ([0, 0], {})
