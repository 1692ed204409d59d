"""What watches a run: checkpoints, early stopping, the progress bar, samples to look at and listen to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme

from tfswa_unet.training.samples import Samples


@dataclass(frozen=True)
class CallbackConfig:
    """See conf/callbacks."""

    checkpoint: dict[str, Any]
    early_stopping: dict[str, Any]
    samples: dict[str, Any]
    progress_bar: bool


class Interrupted(Callback):
    """Keep a checkpoint of a run that is broken off, by Ctrl-C or an error, for `resume=`.

    Lightning's own callback for this would make the next run in the folder resume unasked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


def make_callbacks(config: CallbackConfig, folder: Path) -> list[Callback]:
    """Callbacks of a run whose checkpoints lie under `folder`/checkpoints."""
    callbacks: list[Callback] = [
        ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename="best",
            monitor="val/sdr",
            mode="max",
            every_n_epochs=config.checkpoint["every_n_epochs"],
            save_last=True,
            enable_version_counter=False,
        ),
        Interrupted(folder / "checkpoints" / "interrupted.ckpt"),
        LearningRateMonitor("step"),
    ]
    if config.early_stopping["patience"] is not None:
        callbacks.append(EarlyStopping("val/sdr", mode="max", patience=config.early_stopping["patience"]))
    if config.samples["every_n_epochs"] is not None:
        callbacks.append(Samples(config.samples["every_n_epochs"]))
    if config.progress_bar:
        # Without a style for the metrics' own colour, values are hard to read on light terminals.
        callbacks.append(RichProgressBar(leave=False, theme=RichProgressBarTheme(metrics_format=".3f")))
    return callbacks
