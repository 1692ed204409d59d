"""A disk that is full, or read-only, in the middle of a run: one sentence, the last good state, going on from it."""

import os
import subprocess
import sys

import pytest
import torch
from lightning import Callback

from tests.training.processes import together
from tfswa_unet.errors import RunError
from tfswa_unet.training import fit as fitting
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit

# 6 steps of 2 an epoch, at a rate that does not depend on where a run ends.
WHOLE = ("trainer.max_epochs=3", "data.samples_per_epoch=4", "scheduler.floor=1.0", "ema=none")


@pytest.fixture
def disk(tmp_path):
    """A folder that is a small disk of its own, and what changes it as `mount -o remount` does."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("a disk of one's own is root's to mount, on Linux")

    def mount(options, *kind):
        subprocess.run(["mount", *kind, "-o", options, "tmpfs", folder], check=True, capture_output=True)

    try:
        mount("size=500k", "-t", "tmpfs")
    except subprocess.CalledProcessError:
        pytest.skip("no file system may be mounted here")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", folder], check=True)


def load(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """The weights of a run of 6 steps that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    fit(make_config(*WHOLE), folder)
    return load(folder / "checkpoints" / "last.ckpt")["state_dict"]


def assert_ended_like(whole, folder):
    ended = load(folder / "checkpoints" / "last.ckpt")
    assert ended["global_step"] == 6
    assert all(torch.equal(value, ended["state_dict"][name]) for name, value in whole.items())


# last.ckpt and best.ckpt of the first epoch fit, the next last.ckpt beside them does not.
def test_a_disk_that_fills_up(make_config, tmp_path, disk, whole):
    folder, remount = disk
    last = folder / "checkpoints" / "last.ckpt"
    told = rf"^{last} cannot be written \(No space left on device\): make room for it there, then go on with resume="
    with pytest.raises(RunError, match=told):
        fit(make_config(*WHOLE), folder)
    assert load(last)["global_step"] == 2
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    remount("size=10m")
    fit(make_config(*WHOLE, "resume=auto"), folder)
    assert_ended_like(whole, folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a forked process cannot train where a GPU is")
def test_a_disk_that_fills_up_under_two_processes(make_config, tmp_path, disk):
    folder, _ = disk
    last = folder / "checkpoints" / "last.ckpt"
    values = make_config(*WHOLE, "trainer.devices=2", "strategy=ddp")
    statuses, raised = together(fit, [(values, folder)] * 2)
    told = f"RunError: {last} cannot be written (No space left on device): make room for it there, then go on with "
    assert raised == {0: f"{told}resume={last}", 1: f"{told}resume={last}"}
    assert statuses == [1, 1]
    assert load(last)["global_step"] == 1


class Before(Callback):
    """Do something before a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            self.act()


def test_a_folder_that_becomes_read_only(make_config, tmp_path, disk, whole, monkeypatch):
    folder, remount = disk
    remount("size=10m")

    def build(*arguments):
        run = build_run(*arguments)
        run.trainer.callbacks.insert(0, Before(3, lambda: remount("ro")))
        return run

    last = folder / "checkpoints" / "last.ckpt"
    told = rf"\(Read-only file system\): let files be written there, then go on with resume={last}$"
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "build_run", build)
        with pytest.raises(RunError, match=told):
            fit(make_config(*WHOLE), folder)
    assert load(last)["global_step"] == 2
    for place in (folder, folder / "new"):
        with pytest.raises(RunError, match=rf"^the run's folder {place} cannot be written \(Read-only "):
            fit(make_config(*WHOLE, "resume=auto"), place)
    remount("rw")
    fit(make_config(*WHOLE, "resume=auto"), folder)
    assert_ended_like(whole, folder)
