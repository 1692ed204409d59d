"""Samples of a run to look at and listen to: a validation track, its true stems and the estimated ones."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.evaluation.tracks import Audio
from tfswa_unet.types import MIXTURE

SECONDS = 10.0  # of the track, from its middle


@dataclass(eq=False)
class Samples(Callback):
    """Log the middle of the first validation track, its true stems and its estimates, as sound and as spectrograms.

    Goes to the loggers that take pictures and audio (TensorBoard, W&B), as `samples/mixture`, `samples/vocals`,
    `samples/vocals_true`, … and `samples/spectrograms`. Estimates are those of the averaged weights where there are.

    Args:
        every_n_epochs: epochs between samples.
    """

    every_n_epochs: int

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.current_epoch % self.every_n_epochs:
            return
        takers = [each for each in trainer.loggers if isinstance(each, TensorBoardLogger | WandbLogger)]
        if not takers:
            return
        module: Any = pl_module
        stems = trainer.datamodule.validation[0]  # type: ignore[attr-defined]
        start = max(0, (stems.shape[-1] - round(SECONDS * module.model.rate)) // 2)
        stems = stems[..., start : stems.shape[-1] - start]
        mixture = stems.sum(dim=0)
        estimates = module.separate(mixture)
        truth = dict(zip(estimates, stems.numpy(), strict=False))  # behind them may come what belongs to none
        rate, step = module.model.rate, trainer.global_step
        picture = _picture(mixture.numpy(), estimates, truth, rate, f"epoch {trainer.current_epoch}")
        sounds = {MIXTURE: mixture.numpy(), **estimates, **{f"{name}_true": stem for name, stem in truth.items()}}
        for logger in takers:
            _log(logger, sounds, picture, rate, step)


def _picture(
    mixture: Audio, estimates: dict[str, Audio], truth: dict[str, Audio], rate: int, title: str
) -> NDArray[np.uint8]:
    """Pixels (height, width, 3), 0…255."""
    from matplotlib.image import imread

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectrograms.png"
        spectrograms(path, mixture, estimates, rate, title, references=truth)
        return (imread(path)[..., :3] * 255).astype(np.uint8)


def _log(
    logger: TensorBoardLogger | WandbLogger, sounds: dict[str, Audio], picture: NDArray[np.uint8], rate: int, step: int
) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image("samples/spectrograms", picture, step, dataformats="HWC")
        for name, sound in sounds.items():
            mono = torch.from_numpy(sound).mean(dim=0).clamp(-1, 1)
            logger.experiment.add_audio(f"samples/{name}", mono, step, sample_rate=rate)
    else:
        import wandb

        audio = {f"samples/{n}": wandb.Audio(s.T.clip(-1, 1), sample_rate=rate) for n, s in sounds.items()}
        logger.experiment.log({"samples/spectrograms": wandb.Image(picture), **audio}, commit=False)
