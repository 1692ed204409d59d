"""One training run from its configuration to its checkpoints."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from tfswa_unet.processes import keep_pages
from tfswa_unet.training.builder import build_run


def fit(values: Mapping[str, Any], folder: Path) -> float:
    """Train as configured; checkpoints, logs and the resolved configuration go to `folder`.

    Returns:
        the best validation SDR in dB.

    Raises:
        UserError: for a configuration, data set or checkpoint that cannot be used, before training starts.
    """
    keep_pages()
    _quiet()
    run = build_run(values, folder)
    console = Console(stderr=True)
    if run.trainer.is_global_zero:
        parameters = sum(parameter.numel() for parameter in run.module.model.parameters())
        console.print(
            f"{run.module.model.model_config.name}: {parameters / 1e6:.1f} M parameters, stems "
            f"{', '.join(run.module.model.stems)}; {len(run.data.training.reader.lengths)} train and "
            f"{len(run.data.validation.reader.lengths)} valid tracks; everything goes to {folder}"
        )
    try:
        run.trainer.fit(run.module, run.data, ckpt_path=run.resume, weights_only=True)
    finally:
        # Runs of one sweep share a process: an open W&B run would swallow the next one.
        if any(isinstance(logger, WandbLogger) for logger in run.trainer.loggers):
            import wandb

            wandb.finish()
    checkpoint = next(c for c in run.trainer.callbacks if isinstance(c, ModelCheckpoint))  # type: ignore[attr-defined]
    best = float(checkpoint.best_model_score) if checkpoint.best_model_score is not None else float("nan")
    if run.trainer.is_global_zero:
        console.print(f"best validation SDR {best:.2f} dB: {checkpoint.best_model_path or checkpoint.last_model_path}")
        if run.module.bad_steps:
            console.print(f"{run.module.bad_steps} steps had a non-finite gradient and were left out")
    return best


def _quiet() -> None:
    """Keep Lightning's advice for its developers, and its advertisements, off the user's screen."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*dirpath has changed.*",
        ".*sync_dist.*",  # the module sums over processes itself
        ".*Grad strides do not match bucket view strides.*",
        ".*dataloader is not resumable.*",  # the sampler goes on with the next example, see SegmentDataModule
    ):
        warnings.filterwarnings("ignore", message)
