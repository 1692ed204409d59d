"""Something to look at and listen to while a model trains."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from tfswa_unet.evaluation.plots import spectrograms


class Samples(Callback):
    """Log one validation segment, separated, as sound and as a picture of spectrograms.

    Goes to the loggers that take pictures and audio (TensorBoard, W&B).

    Args:
        every_n_epochs: epochs between samples.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.current_epoch % self.every_n_epochs:
            return
        model: Any = pl_module.model
        stems = trainer.datamodule.validation[0]  # type: ignore[attr-defined]
        mixture = stems.sum(dim=0)
        with torch.inference_mode():
            estimates = model(mixture[None].to(pl_module.device))[0].float().cpu().numpy()
        sounds = {"mixture": mixture.numpy(), **dict(zip(model.stems, estimates, strict=True))}
        picture = self._picture(sounds, model.rate, f"epoch {trainer.current_epoch}")
        for logger in trainer.loggers:
            self._log(logger, sounds, picture, model.rate, trainer.global_step)

    @staticmethod
    def _picture(sounds: dict[str, np.ndarray], rate: int, title: str) -> np.ndarray:
        """Pixels (height, width, 3), 0…255."""
        from matplotlib.image import imread

        stems = {name: sound for name, sound in sounds.items() if name != "mixture"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spectrograms.png"
            spectrograms(path, sounds["mixture"], stems, rate, title)
            return (imread(path)[..., :3] * 255).astype(np.uint8)

    @staticmethod
    def _log(logger: Any, sounds: dict[str, np.ndarray], picture: np.ndarray, rate: int, step: int) -> None:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("samples/spectrograms", picture, step, dataformats="HWC")
            for name, sound in sounds.items():
                mono = torch.from_numpy(sound).mean(dim=0).clamp(-1, 1)
                logger.experiment.add_audio(f"samples/{name}", mono, step, sample_rate=rate)
        elif isinstance(logger, WandbLogger):
            import wandb

            audio = {f"samples/{n}": wandb.Audio(s.T.clip(-1, 1), sample_rate=rate) for n, s in sounds.items()}
            logger.experiment.log({"samples/spectrograms": wandb.Image(picture), **audio}, commit=False)


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
        if trainer.optimizers:  # otherwise it ended before it trained, as for songs that cannot be decoded
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
