"""Where a run goes on: from which checkpoint, whether that is whole, and at which batch."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from tfswa_unet.errors import ConfigError
from tfswa_unet.models import is_earlier
from tfswa_unet.training.config import SEPARATION

AUTO = "auto"
BEST, LAST, PREVIOUS, INTERRUPTED = "best.ckpt", "last.ckpt", "previous.ckpt", "interrupted.ckpt"
TO_GO_ON_FROM = (LAST, INTERRUPTED, PREVIOUS)
ZIP = b"PK"  # with which all that torch.save writes begins

say = rank_zero_only(logging.getLogger(__name__).warning)


@dataclass(frozen=True)
class Resumable:
    """A checkpoint to go on from, the optimizer steps it has done, and whether a validation of them is to come."""

    path: Path
    step: int
    before_validation: bool = False


class _UnusableError(Exception):
    """Why a file is no whole checkpoint, as the end of a sentence that begins with its path."""


def read_resumable(resume: str, folder: Path, hparams: Mapping[str, Any]) -> Resumable | None:
    """The checkpoint that `resume=` names, refused where a run cannot go on from it.

    Args:
        resume: the path of a checkpoint, or "auto" for the newest whole one of the run in `folder`, or None where it
            has none.
        folder: of the run.
        hparams: of the run's Lightning module.

    Raises:
        ConfigError: no such file, a damaged one, no checkpoint of a run, or one of another model or optimizer.
    """
    if resume == AUTO:
        return _newest(folder / "checkpoints", hparams)
    path = Path(resume).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"resume={resume}: {_missing(path)}")
    try:
        checkpoint = _load(path)
    except _UnusableError as error:
        raise ConfigError(f"resume={resume} {error}; {_instead(path)}") from None
    return _accepted(f"resume={resume}", path, checkpoint, hparams)


def _newest(folder: Path, hparams: Mapping[str, Any]) -> Resumable | None:
    """The newest whole checkpoint in a folder; which it is, and what is passed over, is said."""
    damaged = []
    for path in _newest_first(folder):
        try:
            checkpoint = _load(path)
        except _UnusableError as error:
            damaged.append(f"{path.name} {error}")
            continue
        found = _accepted(f"resume=auto found {path}, which", path, checkpoint, hparams)
        reason = f", since {' and '.join(damaged)}" if damaged else ""
        say("going on from %s, step %d%s", path, found.step, reason)
        return found
    say("resume=auto: starting anew, %s in %s", " and ".join(damaged) or "there is no checkpoint", folder)
    return None


def _accepted(what: str, path: Path, checkpoint: Mapping[str, Any], hparams: Mapping[str, Any]) -> Resumable:
    if is_earlier(checkpoint["state_dict"]):
        raise ConfigError(
            f"{what} was written before the networks were laid out as they are now: go on with the version that "
            "wrote it, or take its weights alone by init_from="
        )
    theirs, ours = (
        {
            "task": _task(each),
            "model": each["model"],
            "optimizer": {"name": each["optimizer"]["name"]},
            "activity": {"bands": (each.get("activity") or {}).get("bands")},
        }
        for each in (checkpoint["hyper_parameters"], hparams)
    )
    found = differences(theirs, ours)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ConfigError(
            f"{what} is of another run: {', '.join(found[:3])}{more}; go on with what it was trained "
            "with, or take its weights alone by init_from="
        )
    counters = checkpoint["loops"]["fit_loop"]
    return Resumable(path, checkpoint["global_step"], _has_all_batches(counters) and not _is_validated(counters))


def _task(hparams: Mapping[str, Any]) -> str:
    return hparams["task"]["name"] if "task" in hparams else SEPARATION


def _load(path: Path) -> Mapping[str, Any]:
    """A run's checkpoint, its tensors left on the disk, when all of its bytes are those that were written.

    torch.save keeps a CRC-32 of each tensor, which torch.load does not look at.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP[: path.stat().st_size]:
            raise _UnusableError("is no checkpoint of a run")
    try:
        with zipfile.ZipFile(path) as parts:
            wrong = parts.testzip()
    except Exception:  # zipfile raises many kinds for what is no archive
        raise _UnusableError("is damaged (it was cut short or overwritten)") from None
    if wrong is not None:
        raise _UnusableError(f"is damaged ({wrong} does not have its checksum)")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        _ = checkpoint["loops"], checkpoint["optimizer_states"], checkpoint["state_dict"], checkpoint["global_step"]
        _ = checkpoint["hyper_parameters"]["model"], checkpoint["hyper_parameters"]["optimizer"]["name"]
    except Exception:  # torch raises many kinds too
        raise _UnusableError("is no checkpoint of a run") from None
    return checkpoint


def _instead(path: Path) -> str:
    """What to give instead of a checkpoint that cannot be used."""
    for other in _newest_first(path.parent):
        if other != path:
            try:
                _load(other)
            except _UnusableError:
                continue
            return f"go on with resume={other}"
    return "expected runs/…/checkpoints/last.ckpt; weights alone, such as a bundle's, are taken by init_from="


def _newest_first(folder: Path) -> list[Path]:
    there = [folder / name for name in TO_GO_ON_FROM if (folder / name).is_file()]
    return sorted(there, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _missing(path: Path) -> str:
    """Why there is no checkpoint there, and what to give instead."""
    for folder in (path, path / "checkpoints", path.parent, path.parent.parent / "checkpoints"):
        if there := _newest_first(folder):
            kind = "is a folder" if path.is_dir() else "no such checkpoint"
            return f"{kind}; expected a file, such as {there[0]}"
    if any((folder / "config.yaml").is_file() for folder in (path, path.parent, path.parent.parent)):
        return "no such checkpoint, since that run ended before its first one; start it again without resume="
    return "no such checkpoint; expected a file such as runs/…/checkpoints/last.ckpt"


def differences(theirs: Any, ours: Any, key: str = "") -> list[str]:
    """The keys at which two configurations differ, each as "KEY is VALUE there and VALUE here"."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        names = dict.fromkeys((*theirs, *ours))
        return [text for name in names for text in differences(theirs.get(name), ours.get(name), f"{key}.{name}")]
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        theirs, ours = list(theirs), list(ours)
    return [] if theirs == ours else [f"{key.removeprefix('.')} is {theirs} there and {ours} here"]


def settle(counters: dict[str, Any], trainer: Trainer) -> None:
    """Move the counters of a checkpoint's fit loop to a place from which Lightning goes on exactly.

    It writes them as they stand, in the middle of a step or of a validation, and of those it takes some for the end of
    an epoch that is then not validated, counted twice or trained again. The places are: before the first batch of an
    epoch, behind as many of its batches as whole optimizer steps took, and behind all, before its validation.

    Args:
        counters: `checkpoint["loops"]["fit_loop"]`, changed here.
        trainer: that goes on.
    """
    epochs, batches = counters["epoch_progress"], counters["epoch_loop.batch_progress"]
    validation = counters["epoch_loop.val_loop.batch_progress"]
    optimizer = counters["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    epoch, done = epochs["current"]["completed"], batches["current"]["processed"]
    pending = False
    if epochs["current"]["ready"] == epoch:  # between epochs, as when a run is over
        done = 0
    elif _has_all_batches(counters):
        due = trainer.enable_validation and (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        pending = due and not _is_validated(counters)
        if not pending:
            epoch, done = epoch + 1, 0
    else:
        done -= done % trainer.accumulate_grad_batches  # gradients that are half summed are in no checkpoint
    for reach in ("total", "current"):
        begun = epoch + (done > 0)
        epochs[reach] = {"ready": begun, "started": begun, "processed": epoch, "completed": epoch}
        batches[reach] = dict.fromkeys(("ready", "started", "processed", "completed"), done)
        # Begun and not over, for Lightning, is what it validates first.
        begun = int(pending and reach == "total")
        validation[reach] = {"ready": begun, "started": begun, "processed": 0, "completed": 0}
    batches["is_last_batch"], validation["is_last_batch"] = pending, False
    # The step that loggers are told, which moves on behind the validation.
    counters["epoch_loop.state_dict"]["_batches_that_stepped"] = optimizer["step"]["total"]["completed"] - pending


def _has_all_batches(counters: Mapping[str, Any]) -> bool:
    """Whether all batches of the epoch are done."""
    batches = counters["epoch_loop.batch_progress"]
    return batches["is_last_batch"] and batches["current"]["processed"] == batches["current"]["ready"]


def _is_validated(counters: Mapping[str, Any]) -> bool:
    """Whether the validation of the epoch is over; its totals begin with each epoch."""
    epochs, validation = counters["epoch_progress"]["current"], counters["epoch_loop.val_loop.batch_progress"]
    counts = validation["current"]
    over = validation["total"]["ready"] > 0 and validation["is_last_batch"] and counts["completed"] == counts["ready"]
    return over or epochs["processed"] > epochs["completed"]
