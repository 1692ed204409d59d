"""What watches a run: early stopping, silent validations, samples to look at and listen to."""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.training.checkpoints import MONITOR, Checkpoints
from tfswa_unet.training.config import CallbackConfig
from tfswa_unet.training.progress import ProgressLine

log = logging.getLogger(__name__)


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


class EarlyStopping(Callback):
    """End a run when `patience` validations in a row brought no better SDR; those without an SDR are not counted.

    `reason` says why it ended the run, if it did.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = -math.inf
        self.waited = 0
        self.reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.sanity_checking or score is None:
            return
        if not math.isfinite(float(score)):
            return
        better = float(score) > self.best
        self.best, self.waited = max(self.best, float(score)), 0 if better else self.waited + 1
        if self.waited >= self.patience:
            self.reason = f"{self.waited} validations in a row brought no better SDR than {self.best:.2f} dB"
            trainer.should_stop = True


class SilentValidation(Callback):
    """Say once that a validation has no SDR, since none of its segments has an audible stem."""

    def __init__(self) -> None:
        self.told = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.sanity_checking or self.told or score is None or math.isfinite(float(score)):
            return
        self.told = True
        log.warning(
            "validation has no SDR, since every stem is silent in all of its segments: best.ckpt and early stopping "
            "wait for one; look at the valid songs, or raise data.validation_per_track"
        )


def make_callbacks(config: CallbackConfig, folder: Path) -> list[Callback]:
    """Callbacks of a run whose checkpoints lie under `folder`/checkpoints."""
    callbacks: list[Callback] = [
        Checkpoints(folder / "checkpoints", config.checkpoint),
        LearningRateMonitor("step"),
        SilentValidation(),
    ]
    if config.early_stopping.patience is not None:
        callbacks.append(EarlyStopping(config.early_stopping.patience))
    if config.samples.every_n_epochs is not None:
        callbacks.append(Samples(config.samples.every_n_epochs))
    if config.progress_bar:
        callbacks.append(ProgressLine())
    return callbacks
