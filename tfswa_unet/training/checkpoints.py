"""Checkpoints of a run: the last state and the best one, however the run ends, and what they keep of its making."""

from __future__ import annotations

import io
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from tfswa_unet.data.sets.layouts import SET
from tfswa_unet.errors import ConfigError, RunError, StoppedError
from tfswa_unet.evaluation.report import versions
from tfswa_unet.files import replacing
from tfswa_unet.models import is_earlier
from tfswa_unet.processes import device_name
from tfswa_unet.training.config import CheckpointConfig
from tfswa_unet.training.energy import Energy, counters

MONITOR = "val/sdr"
BEST, LAST, INTERRUPTED = "best.ckpt", "last.ckpt", "interrupted.ckpt"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENERGY_EVERY = 10.0  # s; counters of processors begin again after some minutes

Source = dict[str, str]  # a row of a data set's table of sources


@dataclass(frozen=True)
class Resumable:
    """A checkpoint to go on from, and the optimizer steps it has done."""

    path: Path
    step: int


class Checkpoints(Checkpoint):
    """Write last.ckpt, from which `resume=` goes on, and best.ckpt, the best by validation SDR.

    The last state is written after epochs, every few minutes, and where the run ends, always between two steps, so
    that going on repeats and leaves out nothing. SIGINT and SIGTERM end the run after the step that is under way, with
    the same state in interrupted.ckpt; a second signal, or one before the first step, ends it at once. An error leaves
    interrupted.ckpt too.

    Args:
        folder: of the checkpoints.
        config: how often.

    Raises:
        RunError: in training, where a checkpoint cannot be written; the one before stays.
        StoppedError: in training, after a signal.
    """

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        self.folder = folder
        self.config = config
        self.score: float | None = None  # dB, of the last validation that had one
        self.best = -math.inf
        self.best_step: int | None = None
        self.saved_at = 0.0
        self.state: Resumable | None = None  # to go on from
        self.unwritable = False  # since a checkpoint could not be written
        self.signal: signal.Signals | None = None
        self.stopping = False  # since a process got one, and last.ckpt is written
        self._handlers: dict[int, Any] = {}  # in training, those before it

    @property
    def best_path(self) -> Path | None:
        """best.ckpt, where a validation gave a score."""
        return None if self.best_step is None else self.folder / BEST

    @contextmanager
    def stoppable(self, resumed: Resumable | None) -> Iterator[None]:
        """Let SIGINT and SIGTERM end what is done before training with a StoppedError that names `resumed`."""
        self.state = resumed
        before = self._catch_signals()
        try:
            yield
        finally:
            _restore(before)

    def state_dict(self) -> dict[str, Any]:
        return {"monitor": MONITOR, "current_score": self.score, "best_score": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.best = state_dict["current_score"], state_dict["best_score"]
        self.best_step = state_dict["best_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at = time.monotonic()
        # After Lightning's own, whose way of ending at SIGTERM has exit status 0.
        self._handlers = self._catch_signals()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        ends = trainer.should_stop or last_batch or 0 < trainer.max_steps <= trainer.global_step
        if not ends and (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients that are half summed are in no checkpoint
        self.stopping = self._is_signalled(trainer)
        if self.stopping or ends or self._is_due(trainer):
            # Before validation, so that what stops it costs no step.
            self._save_last(trainer)

    # Where the step is over for the loggers too.
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self.stopping:
            self._stop(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopping:
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if not trainer.sanity_checking and self._is_signalled(trainer):
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.sanity_checking or score is None or not math.isfinite(float(score)):
            return
        self.score = float(score)
        if self.score > self.best:
            self.best, self.best_step = self.score, trainer.global_step
            self._save(trainer, BEST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # An epoch that a limit broke off is over for Lightning too; its state was kept at the step where it ended.
        whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if whole and (trainer.current_epoch + 1) % self.config.every_n_epochs == 0:
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_signals()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_signals()
        # Without optimizers it ended before it trained, as for songs that cannot be decoded.
        if trainer.optimizers and not isinstance(exception, StoppedError) and not self.unwritable:
            with suppress(RunError):
                self._save(trainer, INTERRUPTED)

    def full_disk(self, what: str) -> RunError:
        """The error for what could not be written."""
        path = self.state.path if self.state else None
        then = f", then go on with resume={path}" if path else ""
        return RunError(f"{what}: make room for it there{then}", path)

    def _is_signalled(self, trainer: Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)

    def _is_due(self, trainer: Trainer) -> bool:
        minutes = self.config.every_n_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        return bool(trainer.strategy.broadcast(due))

    def _save_last(self, trainer: Trainer) -> None:
        self._save(trainer, LAST)
        self.state = Resumable(self.folder / LAST, trainer.global_step)
        self.saved_at = time.monotonic()

    def _save(self, trainer: Trainer, name: str) -> None:
        path = self.folder / name
        try:
            if trainer.is_global_zero:
                with replacing(path) as temporary:
                    trainer.save_checkpoint(temporary)
            else:
                trainer.save_checkpoint(path)  # takes part; the first process alone writes
        except OSError as error:
            self.unwritable = True
            raise self.full_disk(f"{path} cannot be written ({error.strerror})") from None

    def _stop(self, trainer: Trainer) -> None:
        path = self.folder / INTERRUPTED
        with suppress(OSError):  # last.ckpt is the same
            if trainer.is_global_zero:
                with replacing(path) as temporary:
                    shutil.copyfile(self.folder / LAST, temporary)
            self.state = Resumable(path, trainer.global_step)
        raise self._stopped()

    def _stopped(self) -> StoppedError:
        number = self.signal or signal.SIGTERM  # which another process got
        if self.state is None:
            return StoppedError(f"stopped by {number.name} before the first checkpoint", None, number)
        return StoppedError(f"stopped by {number.name} after step {self.state.step}", self.state.path, number)

    def _receive(self, number: int, _frame: Any) -> None:
        under_way = bool(self._handlers) and self.signal is None
        self.signal = signal.Signals(number)
        if not under_way:
            raise self._stopped()
        print("stopping after this step; once more to stop at once", file=sys.stderr)

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _restore_signals(self) -> None:
        _restore(self._handlers)
        self._handlers = {}


class Pieces(Callback):
    """Keep in checkpoints the pieces in which a run was trained, and the sources of its data sets.

    A piece is what one process, or group of processes, trained between start or `resume=` and the checkpoint. Its
    plain values:

    - `started`: UTC; `seconds` since then, validation included; `steps`: those done before it and at its end;
    - `device`: cpu, cuda, …, `device_name`, `devices` and the `threads` of each process;
    - `precision`, and the `versions` of torch and tfswa-unet;
    - `energy_joules`: of the whole processors or GPUs, where their counters can be read, else None;
    - `best_sdr`: of the run's validations up to its end, dB; None before the first.

    Args:
        sources: rows of the tables of this run's data sets, see `read_sources`; those of the pieces before join them.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = _without_repeats(sources)
        self.pieces: list[dict[str, Any]] = []
        self._trainer: Trainer | None = None  # in training
        self._since = self._read = 0.0

    def state_dict(self) -> dict[str, Any]:
        if self._trainer is not None:
            self._update(self._trainer)
        return {"pieces": [dict(piece) for piece in self.pieces], "sources": self.sources}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pieces = state_dict["pieces"]
        self.sources = _without_repeats([*state_dict["sources"], *self.sources])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = pl_module.device
        self._since = self._read = time.monotonic()
        # Other machines' counters cannot be read here.
        self._energy = Energy(counters(device, trainer.device_ids) if trainer.num_nodes == 1 else [])
        piece = {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "steps": [trainer.global_step, trainer.global_step],
            "device": device.type,
            "device_name": device_name(device),
            "devices": trainer.world_size,
            "threads": torch.get_num_threads(),
            "precision": str(trainer.precision),
            "versions": {"torch": str(torch.__version__), "tfswa-unet": versions()["tfswa-unet"]},
            "energy_joules": None,
            "best_sdr": None,
        }
        self.pieces = [*self.pieces, piece]
        self._trainer = trainer

    def on_train_batch_end(self, *_: Any) -> None:
        self._read_energy()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._read_energy()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = None

    def _read_energy(self) -> None:
        if self._trainer is not None and time.monotonic() - self._read >= ENERGY_EVERY:
            self._read = time.monotonic()
            self._energy.update()

    def _update(self, trainer: Trainer) -> None:
        """Bring the last piece up to date."""
        self._energy.update()
        joules = self._energy.joules
        best = next((each.best for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoints)), -math.inf)
        piece = self.pieces[-1]
        piece["seconds"] = round(time.monotonic() - self._since, 3)
        piece["steps"] = [piece["steps"][0], trainer.global_step]
        piece["energy_joules"] = None if joules is None else round(joules, 3)
        piece["best_sdr"] = round(best, 4) if math.isfinite(best) else None


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints written straight to where they go; Lightning's own way needs their room in the system's /tmp too."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()  # torch gives a RuntimeError for a full disk
        torch.save(checkpoint, buffer)
        Path(path).write_bytes(buffer.getbuffer())


def read_resumable(path: str | None, hparams: Mapping[str, Any]) -> Resumable | None:
    """The checkpoint that `resume=` names, refused where a run cannot go on from it.

    Args:
        path: value of `resume=`.
        hparams: of the run's Lightning module.

    Raises:
        ConfigError: no such file, no checkpoint of a run, or one of another model or optimizer.
    """
    if path is None:
        return None
    found = Path(path).expanduser().resolve()
    if not found.is_file():
        raise ConfigError(f"resume={path}: {_missing(found)}")
    try:
        checkpoint = torch.load(found, map_location="cpu", weights_only=True, mmap=True)
        earlier = is_earlier(checkpoint["state_dict"])
        step, theirs = checkpoint["global_step"], checkpoint["hyper_parameters"]
        theirs = {"model": theirs["model"], "optimizer": {"name": theirs["optimizer"]["name"]}}
        _ = checkpoint["loops"], checkpoint["optimizer_states"]
    except Exception:  # torch raises many kinds for what is no checkpoint
        raise ConfigError(
            f"resume={path} is no checkpoint of a run: expected runs/…/checkpoints/last.ckpt; weights alone, such as a "
            "bundle's, are taken by init_from="
        ) from None
    if earlier:
        raise ConfigError(
            f"resume={path} was written before the networks were laid out as they are now: go on with the version that "
            "wrote it, or take its weights alone by init_from="
        )
    ours = {"model": hparams["model"], "optimizer": {"name": hparams["optimizer"]["name"]}}
    differences = _differences(theirs, ours)
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ConfigError(
            f"resume={path} is of another run: {', '.join(differences[:3])}{more}; go on with what it was trained "
            "with, or take its weights alone by init_from="
        )
    return Resumable(found, step)


def _missing(path: Path) -> str:
    """Why there is no checkpoint there, and what to give instead."""
    for folder in (path, path / "checkpoints", path.parent, path.parent.parent / "checkpoints"):
        there = next((folder / name for name in (INTERRUPTED, LAST) if (folder / name).is_file()), None)
        if there:
            kind = "is a folder" if path.is_dir() else "no such checkpoint"
            return f"{kind}; expected a file, such as {there}"
    if any((folder / "config.yaml").is_file() for folder in (path, path.parent, path.parent.parent)):
        return "no such checkpoint, since that run ended before its first one; start it again without resume="
    return "no such checkpoint; expected a file such as runs/…/checkpoints/last.ckpt"


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _differences(theirs: Any, ours: Any, key: str = "") -> list[str]:
    """The keys at which two configurations differ, each with both values."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        names = dict.fromkeys((*theirs, *ours))
        return [text for name in names for text in _differences(theirs.get(name), ours.get(name), f"{key}.{name}")]
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        theirs, ours = list(theirs), list(ours)
    return [] if theirs == ours else [f"{key.removeprefix('.')} is {theirs} there and {ours} here"]


def _without_repeats(rows: Iterable[Source]) -> list[Source]:
    """The rows, each once, under the first of the data sets that have it."""
    kept: dict[tuple, Source] = {}
    for row in rows:
        kept.setdefault(tuple(sorted((column, field) for column, field in row.items() if column != SET)), row)
    return list(kept.values())
