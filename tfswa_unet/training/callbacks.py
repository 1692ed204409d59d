"""What watches a run: its callbacks and loggers, early stopping, and the table of metrics that goes on."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from tfswa_unet.files import replacing
from tfswa_unet.training.checkpoints import Checkpoints, Pieces
from tfswa_unet.training.config import CallbackConfig, LoggerConfig
from tfswa_unet.training.figures import Figures
from tfswa_unet.training.optimization import AveragedWeights, Monitor
from tfswa_unet.training.progress import ProgressLine
from tfswa_unet.training.resuming import Resumable
from tfswa_unet.training.samples import Samples

log = logging.getLogger(__name__)


def make_callbacks(
    config: CallbackConfig, decay: float | None, folder: Path, pieces: Pieces, monitor: Monitor
) -> list[Callback]:
    """Callbacks of a run.

    Args:
        config: which ones.
        decay: of averaged weights; None for none.
        folder: checkpoints lie in its folder of that name.
        pieces: from which the run goes on.
        monitor: what validations are compared by.
    """
    callbacks: list[Callback] = [
        Figures(monitor),  # first, so that it does not count what the others take as validation
        Checkpoints(folder / "checkpoints", config.checkpoint, monitor),
        LearningRateMonitor("step"),
        SilentValidation(monitor),
        pieces,
    ]
    if decay is not None:
        callbacks.append(AveragedWeights(decay))
    if config.early_stopping.patience is not None:
        callbacks.append(EarlyStopping(config.early_stopping.patience, monitor))
    if config.samples.every_n_epochs is not None:
        callbacks.append(Samples(config.samples.every_n_epochs))
    if config.progress_bar:
        callbacks.append(ProgressLine(monitor))
    return callbacks


def make_loggers(config: LoggerConfig, folder: Path, resume: Resumable | None) -> list[Logger]:
    """The loggers of a run in `folder`.

    Args:
        config: which ones.
        folder: csv/metrics.csv and tensorboard/ lie below it.
        resume: the checkpoint from which the run goes on, or None.
    """
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(AppendingCSVLogger(folder, resume))
    if config.tensorboard:
        # Steps that the checkpoint has not done will come again.
        again = resume.step if resume else None
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=again))
    if config.wandb:
        loggers.append(WandbLogger(save_dir=folder, **asdict(config.wandb)))
    return loggers


class EarlyStopping(Callback):
    """End a run when `patience` validations in a row were not better by `monitor`; those without it are not counted.

    `reason` says why it ended the run, if it did.
    """

    def __init__(self, patience: int, monitor: Monitor) -> None:
        self.patience = patience
        self.monitor = monitor
        self.best = monitor.worst
        self.waited = 0
        self.reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor.metric)
        if trainer.sanity_checking or score is None or not math.isfinite(float(score)):
            return
        better = self.monitor.is_better(float(score), self.best)
        self.best, self.waited = (float(score), 0) if better else (self.best, self.waited + 1)
        if self.waited >= self.patience:
            best = f"{self.monitor.name} than {self.monitor.text(self.best)}"
            self.reason = f"{self.waited} validations in a row brought no better {best}"
            trainer.should_stop = True


class SilentValidation(Callback):
    """Say once that a validation has no SDR, since in its tracks no stem is audible, or the model's are not finite."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.told = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor.metric)
        if trainer.sanity_checking or self.told or score is None or math.isfinite(float(score)):
            return
        self.told = True
        log.warning(
            "validation has no %s, since every stem is silent in all of its tracks, or the model's output is not "
            "finite: best.ckpt and early stopping wait for one; look at the valid songs and at train/loss",
            self.monitor.name,
        )


class AppendingCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a run that goes on in its own folder keeps the rows of what it had done.

    Args:
        folder: metrics.csv lies in its folder csv.
        resume: the checkpoint that has done it; None starts the file anew.
    """

    def __init__(self, folder: Path, resume: Resumable | None) -> None:
        super().__init__(folder, name="", version="csv")
        self.resume = resume

    @property
    def experiment(self) -> Any:
        if self._experiment is None and self.resume is not None:
            path = Path(self.log_dir) / "metrics.csv"
            kept, names = _rows_before(path, self.resume)
            writer: Any = super().experiment  # which deletes the file
            if kept:
                with replacing(path) as temporary, temporary.open("w", newline="") as file:
                    table = csv.DictWriter(file, names)
                    table.writeheader()
                    table.writerows(kept)
                writer.metrics_keys = names
        return super().experiment


def _rows_before(path: Path, resume: Resumable) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of a file of metrics that belong to what a checkpoint has done, and its columns."""
    if not path.is_file():
        return [], []
    text = path.read_text()
    table = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # a run killed while it wrote leaves half a row
    rows = [row for row in table if (row.get("step") or "").isdigit() and int(row["step"]) < resume.step]
    if resume.before_validation:
        rows = [row for row in rows if int(row["step"]) < resume.step - 1 or not _is_validation(row)]
    return rows, list(table.fieldnames or ())


def _is_validation(row: Mapping[str, str]) -> bool:
    """Whether a row of metrics is a validation's."""
    return any(value for name, value in row.items() if name.startswith("val/"))
