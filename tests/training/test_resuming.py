"""Which checkpoint a run goes on from: the newest whole one; one that is damaged is never taken for another."""

import os
import random
import re
import shutil

import pytest
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.training.fit import fit
from tfswa_unet.training.resuming import read_resumable


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """A run of two steps with last.ckpt, and previous.ckpt after one."""
    folder = tmp_path_factory.mktemp("whole")
    fit(make_config("trainer.max_steps=2", "callbacks.checkpoint.every_n_minutes=0"), folder)
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def last(run):
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def previous(last):
    return last.with_name("previous.ckpt")


def load(path):
    return torch.load(path, weights_only=True)


def flip(path, at):
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 16]))


def auto(run, like):
    return read_resumable("auto", run, load(like)["hyper_parameters"])


def same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(same(*pair) for pair in zip(ours, theirs, strict=True))
    return ours == theirs


def test_the_newest_is_found_and_said(run, last, previous, caplog):
    found = auto(run, last)
    assert (found.path, found.step) == (last, 2)
    assert caplog.messages == [f"going on from {last}, step 2"]
    interrupted = shutil.copy(previous, last.with_name("interrupted.ckpt"))
    os.utime(interrupted, ns=(1, last.stat().st_mtime_ns + 1))
    assert auto(run, last).path == interrupted


def test_without_one_a_run_starts_anew_and_says_so(last, tmp_path, caplog):
    assert auto(tmp_path / "none", last) is None
    assert caplog.messages == [f"resume=auto: starting anew, there is no checkpoint in {tmp_path}/none/checkpoints"]


def test_what_is_found_has_to_be_of_this_run(run, last):
    hparams = load(last)["hyper_parameters"]
    hparams["model"] = {**hparams["model"], "subbands": 2}
    with pytest.raises(ConfigError, match=rf"^resume=auto found {last}, which is of another run: model\.subbands is 4"):
        read_resumable("auto", run, hparams)


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, r"is damaged \(it was cut short or overwritten\)"),
        (0.5, r"is damaged \(it was cut short or overwritten\)"),
        (-1, r"is damaged \(it was cut short or overwritten\)"),
        ("zeros", "is no checkpoint of a run"),
        ("flipped", r"is damaged \(\S+/data/\d+ does not have its checksum\)"),
    ],
)
def test_a_damaged_one_gives_way_to_the_one_before(run, last, previous, caplog, length, reason):
    size = last.stat().st_size
    if length == "flipped":
        weights = max(load(last)["state_dict"].values(), key=torch.Tensor.numel)
        flip(last, last.read_bytes().index(weights.numpy().tobytes()) + 5)
    elif length == "zeros":
        last.write_bytes(bytes(size))
    else:
        os.truncate(last, size - 1 if length < 0 else int(size * length))
    found = auto(run, previous)
    assert (found.path, found.step) == (previous, 1)
    (said,) = caplog.messages
    assert re.fullmatch(rf"going on from {previous}, step 1, since last\.ckpt {reason}", said)

    hparams = load(previous)["hyper_parameters"]
    with pytest.raises(ConfigError, match=rf"^resume={last} {reason}; go on with resume={previous}$"):
        read_resumable(str(last), run, hparams)
    caplog.clear()
    previous.write_bytes(b"")
    assert read_resumable("auto", run, hparams) is None
    (said,) = caplog.messages
    assert re.match(rf"resume=auto: starting anew, .*last\.ckpt {reason}.* in {last.parent}$", said)
    with pytest.raises(ConfigError, match=rf"^resume={last} {reason}; expected runs/…/checkpoints/last\.ckpt; "):
        read_resumable(str(last), run, hparams)


def test_no_flipped_bit_is_read_as_something_else(run, last, previous):
    generator, whole = random.Random(0), load(last)
    size = last.stat().st_size
    places = [*generator.sample(range(size), 15), *generator.sample(range(size - 20_000, size), 15)]
    taken = []
    for at in places:
        flip(last, at)
        taken.append(auto(run, previous).path)
        assert taken[-1] == previous or same(load(last), whole), at
        flip(last, at)
    assert previous in taken
    assert auto(run, previous).path == last


def test_a_damaged_one_does_not_take_the_place_of_the_one_before(make_config, run, last, previous):
    os.truncate(last, 1_000)
    before = previous.read_bytes()
    fit(make_config("trainer.max_steps=2", "resume=auto"), run)
    assert load(last)["global_step"] == 2
    assert previous.read_bytes() == before


def test_what_a_killed_run_left_half_written_is_removed(make_config, run, last):
    for name in (".last-x1.ckpt", ".best-x2.ckpt", ".interrupted-x3.ckpt", ".mine.ckpt"):
        (last.parent / name).write_bytes(b"PK half")
    fit(make_config("trainer.max_steps=3", "resume=auto"), run)
    assert [path.name for path in last.parent.glob(".*")] == [".mine.ckpt"]
    assert load(last.with_name("previous.ckpt"))["global_step"] == 2
