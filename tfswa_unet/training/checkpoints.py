"""Checkpoints of a run: the last state and the best one, however the run ends, and what they keep of its making."""

from __future__ import annotations

import io
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from tfswa_unet.data.sets.layouts import without_repeats
from tfswa_unet.errors import RunError, StoppedError
from tfswa_unet.evaluation.report import versions
from tfswa_unet.files import FULL, replacing
from tfswa_unet.processes import device_name
from tfswa_unet.training.config import CheckpointConfig
from tfswa_unet.training.energy import Energy, counters
from tfswa_unet.training.optimization import SDR, AveragedWeights, Monitor
from tfswa_unet.training.resuming import BEST, INTERRUPTED, LAST, PREVIOUS, Resumable, settle

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENERGY_EVERY = 10.0  # s; counters of processors begin again after some minutes

Result = TypeVar("Result")
Source = dict[str, str]  # a row of a data set's table of sources


class Checkpoints(Checkpoint):
    """Write last.ckpt, from which `resume=` goes on, and best.ckpt, the best by `monitor`.

    The last state is written after epochs, every few minutes, and where the run ends, always between two steps, when
    the loggers have the one before, so that going on repeats and leaves out nothing. previous.ckpt is the last.ckpt
    before, for when that is damaged. SIGINT and SIGTERM end the run after the step that is under way, with the same
    state in interrupted.ckpt; a second signal, or one before the first step, ends it at once. An error leaves
    interrupted.ckpt too where there is one process.

    Args:
        folder: of the checkpoints.
        config: how often.
        monitor: what validations are compared by.

    Raises:
        RunError: in training, where a checkpoint cannot be written; the one before stays.
        StoppedError: in training, after a signal.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, monitor: Monitor) -> None:
        self.folder = folder
        self.config = config
        self.monitor = monitor
        self.score: float | None = None  # of the last validation that had one
        self.best = monitor.worst
        self.best_step: int | None = None
        self.saved_at = 0.0
        self.state: Resumable | None = None  # to go on from
        self.unwritable = False  # since a checkpoint could not be written
        self.signal: signal.Signals | None = None
        self.due = False  # last.ckpt, when the step is over for the loggers too
        self.stopping = False  # when it is written, since a process got a signal
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
        scores = {"current_score": self.score, "best_score": self.best, "best_step": self.best_step}
        return {"monitor": self.monitor.metric, **scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.best = state_dict["current_score"], state_dict["best_score"]
        self.best_step = state_dict["best_step"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        settle(checkpoint["loops"]["fit_loop"], trainer)
        averages = any(isinstance(each, AveragedWeights) for each in trainer.callbacks)  # type: ignore[attr-defined]
        if "current_model_state" in checkpoint and not averages:
            pl_module.load_state_dict(checkpoint["current_model_state"])  # the state_dict is the average

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at = time.monotonic()
        loop = trainer.fit_loop.epoch_loop
        if not loop.batch_progress.current.ready:
            loop.restarting = False  # Lightning takes every run with max_steps for one that goes on in mid-epoch
        if trainer.is_global_zero:
            self._remove_unfinished()
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
        self.due = self.stopping or ends or self._is_due(trainer)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._between_steps(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before it, so that what stops the validation costs no step.
        self._between_steps(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if not trainer.sanity_checking and self._is_signalled(trainer):
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor.metric)
        if trainer.sanity_checking or score is None or not math.isfinite(float(score)):
            return
        self.score = float(score)
        if self.monitor.is_better(self.score, self.best):
            self.best, self.best_step = self.score, trainer.global_step
            self._save(trainer, BEST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # An epoch that a limit broke off is over for Lightning too; its state was kept at the step where it ended.
        whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.due or (whole and (trainer.current_epoch + 1) % self.config.every_n_epochs == 0):
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_signals()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_signals()
        # Without optimizers it ended before it trained, as for songs that cannot be decoded.
        if not trainer.optimizers or isinstance(exception, StoppedError) or self.unwritable:
            return
        if trainer.world_size > 1:
            return  # the others may not have the error: they would not take part
        if trainer.validating:
            self._copy_last(trainer)  # a validation that was broken off leaves counters as no step does
            return
        with suppress(RunError):
            self._save(trainer, INTERRUPTED)

    def unwritable_error(self, what: str, error: OSError) -> RunError:
        """The error for `what` could not be done since a file could not be written."""
        path = self.state.path if self.state else None
        then = f", then go on with resume={path}" if path else ""
        put_right = "make room for it there" if error.errno in FULL else "let files be written there"
        return RunError(f"{what} ({error.strerror}): {put_right}{then}", path)

    def _is_signalled(self, trainer: Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)

    def _is_due(self, trainer: Trainer) -> bool:
        minutes = self.config.every_n_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        return bool(trainer.strategy.broadcast(due))

    def _between_steps(self, trainer: Trainer) -> None:
        """Write last.ckpt if it is due, and stop if that was for a signal."""
        if self.due:
            self._save_last(trainer)
        if self.stopping:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        self._copy_last(trainer)
        raise self._stopped()

    def _save_last(self, trainer: Trainer) -> None:
        self._save(trainer, LAST)
        self.state = Resumable(self.folder / LAST, trainer.global_step)
        self.saved_at, self.due = time.monotonic(), False

    def _save(self, trainer: Trainer, name: str) -> None:
        path, files = self.folder / name, trainer.strategy.checkpoint_io

        def finish() -> None:
            if isinstance(files, CheckpointFiles):
                files.check()
            # Not where it may be damaged, which only one that was written or read here is not.
            if name == LAST and self.state and self.state.path.resolve() == path.resolve():
                os.replace(path, self.folder / PREVIOUS)

        with ExitStack() as stack:
            temporary = self._on_the_first(trainer, path, lambda: stack.enter_context(replacing(path)))
            trainer.save_checkpoint(temporary or path)  # in which all take part
            self._on_the_first(trainer, path, finish)

    def _on_the_first(self, trainer: Trainer, path: Path, act: Callable[[], Result]) -> Result | None:
        """Do in the first process what writing `path` takes; where it cannot, no other waits for it: all raise."""
        result, failed = None, None
        if trainer.is_global_zero:
            try:
                result = act()
            except OSError as error:
                failed = error
        failed = trainer.strategy.broadcast(failed)
        if failed is not None:
            self.unwritable = True
            raise self.unwritable_error(f"{path} cannot be written", failed)
        return result

    def _copy_last(self, trainer: Trainer) -> None:
        path = self.folder / INTERRUPTED
        with suppress(OSError):  # last.ckpt is the same
            if trainer.is_global_zero:
                with replacing(path) as temporary:
                    shutil.copyfile(self.folder / LAST, temporary)
            self.state = Resumable(path, trainer.global_step)

    def _remove_unfinished(self) -> None:
        """Remove what a run that was killed while it wrote a checkpoint has left."""
        for name in (BEST, LAST, INTERRUPTED):
            for path in self.folder.glob(f".{Path(name).stem}-*.ckpt"):
                path.unlink(missing_ok=True)

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
        pieces: those in which the weights were trained that the run starts from; each run counts its own steps.
    """

    def __init__(self, sources: Sequence[Source], pieces: Sequence[Mapping[str, Any]] = ()) -> None:
        self.sources = without_repeats(sources)
        self.pieces: list[dict[str, Any]] = [dict(piece) for piece in pieces]
        self._trainer: Trainer | None = None  # in training
        self._since = self._read = 0.0

    def state_dict(self) -> dict[str, Any]:
        if self._trainer is not None:
            self._update(self._trainer)
        return {"pieces": [dict(piece) for piece in self.pieces], "sources": self.sources}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pieces = state_dict["pieces"]
        self.sources = without_repeats([*state_dict["sources"], *self.sources])

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
        scored = [each for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoints)]
        best = next((each.best for each in scored if each.monitor == SDR), -math.inf)
        piece = self.pieces[-1]
        piece["seconds"] = round(time.monotonic() - self._since, 3)
        piece["steps"] = [piece["steps"][0], trainer.global_step]
        piece["energy_joules"] = None if joules is None else round(joules, 3)
        piece["best_sdr"] = round(best, 4) if math.isfinite(best) else None


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints written straight to where they go; Lightning's own way needs their room in the system's /tmp too.

    They are on the disk, not on their way to it, before they take the place of the one before.
    """

    failed: OSError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write, and keep the error where that fails: the other processes wait for this one to come out of it."""
        buffer = io.BytesIO()  # torch gives a RuntimeError for a full disk
        torch.save(checkpoint, buffer)
        try:
            with Path(path).open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.failed = error

    def check(self) -> None:
        """Raise the error of the last writing, if it had one."""
        failed, self.failed = self.failed, None
        if failed is not None:
            raise failed


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
