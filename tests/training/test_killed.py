"""Runs killed at any moment, by SIGKILL, end with the same bits as one that nothing stopped."""

import csv
import hashlib
import multiprocessing
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from lightning import Callback

from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.checkpoints import CheckpointFiles
from tfswa_unet.training.fit import fit

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a forked process cannot train where a GPU is")

HOOKS = (
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_batch_start",
    "on_validation_end",
    "on_train_epoch_end",
)
COMMON = ("callbacks.early_stopping.patience=9", "trainer.log_every_n_steps=1", "optimizer.lr=1e-2")
EPOCHS = ("trainer.max_epochs=2", "ema.decay=0.4", "callbacks.checkpoint.every_n_minutes=0")
STEPS = (  # two an epoch, and an example that is left over
    "trainer.max_epochs=-1",
    "trainer.max_steps=10",
    "trainer.accumulate_grad_batches=2",
    "trainer.check_val_every_n_epoch=2",
    "data.samples_per_epoch=9",
)
TWO = ("trainer.max_epochs=2", "data.samples_per_epoch=16", "strategy=ddp", "trainer.devices=2")


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


class Kill(Callback):
    """Kill this process at a moment, the first one from `step` on."""

    def __init__(self, step, moment):
        self.step, self.reached = step, False
        if moment in HOOKS:
            setattr(self, moment, self.kill)
        elif moment == "writing":
            self.before(CheckpointFiles, "save_checkpoint", lambda *given: Path(given[2]).write_bytes(b"PK half"))
        else:
            self.before(os, "replace", lambda *given: given[1].name == "last.ckpt")

    def kill(self, trainer, *_):
        if not trainer.sanity_checking and trainer.global_step >= self.step:
            die()

    def on_after_backward(self, trainer, _):
        self.reached = trainer.global_step + 1 >= self.step

    def before(self, owner, name, happens):
        real = getattr(owner, name)

        def replaced(*given, **options):
            if self.reached and happens(*given):
                die()
            return real(*given, **options)

        setattr(owner, name, replaced)


def train(values, folder, rank, port, kill):
    """Train in this process, and kill it if that is wanted; the network draws from torch's own generator."""
    if port:
        os.environ.update(LOCAL_RANK=str(rank), MASTER_PORT=str(port))

    def build(*arguments):
        run = build_run(*arguments)
        network = run.module.model.network
        network.register_forward_hook(lambda _, __, out: torch.nn.functional.dropout(out, 0.1, network.training))
        run.trainer.callbacks[:0] = [Kill(*kill)] if kill else []
        return run

    fitting.build_run = build
    fit(values, folder)


def in_processes(values, folder, number, kill=None):
    """Train in as many processes; their exit statuses. Where one is killed, all are."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] if number > 1 else None
    fork = multiprocessing.get_context("fork").Process
    processes = [fork(target=train, args=(values, folder, rank, port, kill)) for rank in range(number)]
    for process in processes:
        process.start()
    ends = time.monotonic() + 240
    while any(process.is_alive() for process in processes):
        if time.monotonic() > ends or any(process.exitcode for process in processes):
            for process in processes:
                process.kill()
        time.sleep(0.02)
    return [process.exitcode for process in processes]


def state(path):
    """All that training goes on from but the counters of the loops: tensors by the hash of their bytes."""
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["callbacks"].pop("Pieces")
    del checkpoint["loops"]
    found = {}

    def visit(value, key):
        if isinstance(value, torch.Tensor):
            found[key] = hashlib.sha256(value.numpy().tobytes()).hexdigest()
        elif isinstance(value, dict | list | tuple):
            for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
                visit(inner, f"{key}/{name}")
        else:
            found[key] = value

    visit(checkpoint, "")
    return found


def rows(folder):
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if value and not name.startswith("run/")}  # times and memory
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize(
    ("number", "overrides", "moments", "seed"),
    [
        (1, EPOCHS, (*HOOKS, "writing", "renaming"), 1),
        (1, STEPS, ("on_validation_batch_start", "on_train_epoch_end", "on_train_batch_end"), 2),
        (2, TWO, HOOKS, 3),
    ],
    ids=["epochs", "steps", "two processes"],
)
def test_a_run_killed_three_times_ends_like_one_that_was_not(make_config, tmp_path, number, overrides, moments, seed):
    values = make_config(*COMMON, *overrides, "resume=auto")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_processes(values, whole, number) == [0] * number
    wanted = state(whole / "checkpoints" / "last.ckpt")
    generator = random.Random(seed)
    for step in sorted(generator.sample(range(1, wanted["/global_step"] - 1), 3)):
        assert -signal.SIGKILL in in_processes(values, broken, number, (step, generator.choice(moments)))
    assert in_processes(values, broken, number) == [0] * number
    assert state(broken / "checkpoints" / "last.ckpt") == wanted
    assert rows(broken) == rows(whole)
    assert sorted(path.name for path in (broken / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
