"""From a composed configuration to a run: data, module, trainer and the run's folder."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf
from rich.console import Console

from tfswa_unet.bundle import load_model
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import split
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.report import commit
from tfswa_unet.processes import keep_pages
from tfswa_unet.training.callbacks import CallbackConfig, make_callbacks
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.training.module import SeparationModule


@dataclass(frozen=True)
class TrainerConfig:
    """See conf/trainer."""

    accelerator: str
    devices: Any
    num_nodes: int
    max_epochs: int
    max_steps: int
    max_time: str | None
    accumulate_grad_batches: int
    gradient_clip: float
    check_val_every_n_epoch: int
    limit_val_batches: Any
    log_every_n_steps: int
    deterministic: bool


@dataclass(frozen=True)
class StrategyConfig:
    """See conf/strategy."""

    kind: str
    precision: str
    gradient_checkpointing: bool
    compile: bool


@dataclass(frozen=True)
class TrainConfig:
    """A whole training configuration, conf/train.yaml, as plain values."""

    seed: int
    resume: str | None
    init_from: str | None
    model: dict[str, Any]
    stems: dict[str, Any]
    data: dict[str, Any]
    augmentation: dict[str, Any] | None
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    trainer: dict[str, Any]
    strategy: dict[str, Any]
    logger: dict[str, Any]
    callbacks: dict[str, Any]
    paths: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """Everything that `Trainer.fit` needs."""

    module: SeparationModule
    data: SegmentDataModule
    trainer: L.Trainer
    folder: Path
    resume: Path | None


def build_run(values: Mapping[str, Any], folder: Path) -> Run:
    """Make a run from plain configuration values; everything a user can get wrong is refused here.

    Args:
        values: the resolved configuration, see `TrainConfig`.
        folder: where checkpoints, logs and the resolved configuration go.

    Raises:
        ConfigError: for unknown keys, names or values.
        DataError: for a data set that is missing or unusable.
        ModelError: for a checkpoint to start from that does not fit.
    """
    config = from_values(TrainConfig, values, "config")
    resume = _checkpoint(config.resume)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = make_data(config)
    module = make_module(config, data.covers_mixture)
    trainer = make_trainer(config, folder)
    if trainer.is_global_zero:
        _write_facts(values, folder)
    return Run(module, data, trainer, folder, resume)


def make_data(config: TrainConfig) -> SegmentDataModule:
    """The data module: its songs are found, and made, decoded and listened to when training begins."""
    for_workers, _ = split(config.augmentation)
    return SegmentDataModule(
        from_values(LoaderConfig, config.data, "data"),
        StemPlan.from_config(config.stems),
        config.model["rate"],
        config.model["channels"],
        config.seed,
        augmentation=for_workers,
    )


def make_module(config: TrainConfig, covers_mixture: bool) -> SeparationModule:
    """The Lightning module; stems that leave out a part of the mixture cannot be made to sum to it."""
    strategy = from_values(StrategyConfig, config.strategy, "strategy")
    model = {
        **config.model,
        "stems": config.stems,
        "sums_to_mixture": config.model["sums_to_mixture"] and covers_mixture,
    }
    module = SeparationModule(
        model,
        config.loss,
        config.optimizer,
        config.scheduler,
        config.augmentation or {},
        config.trainer["gradient_clip"],
        strategy.gradient_checkpointing,
        strategy.compile,
        seed=config.seed,
    )
    if config.init_from:
        start = load_model(config.init_from)
        try:
            module.model.load_state_dict(start.state_dict())
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise ConfigError(
                f"init_from={config.init_from} does not fit model={config.model['name']}: {reason}"
            ) from None
    return module


def make_trainer(config: TrainConfig, folder: Path) -> L.Trainer:
    """The Lightning trainer with its loggers and callbacks."""
    options = from_values(TrainerConfig, config.trainer, "trainer")
    strategy = from_values(StrategyConfig, config.strategy, "strategy")
    callbacks = from_values(CallbackConfig, config.callbacks, "callbacks")
    arguments = {name: value for name, value in vars(options).items() if name != "gradient_clip"}
    try:
        return L.Trainer(
            **arguments,
            strategy=strategy.kind,
            precision=strategy.precision,  # type: ignore[arg-type]
            logger=_loggers(config.logger, folder),
            callbacks=make_callbacks(callbacks, folder),
            default_root_dir=folder,
            enable_progress_bar=callbacks.progress_bar,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"trainer/strategy: {' '.join(str(error).split())}") from None


def _loggers(config: Mapping[str, Any], folder: Path) -> list[Logger]:
    loggers: list[Logger] = []
    if config["csv"]:
        loggers.append(CSVLogger(folder, name="", version="csv"))
    if config["tensorboard"]:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    if config["wandb"]:
        loggers.append(WandbLogger(save_dir=folder, **config["wandb"]))
    return loggers


def _checkpoint(path: str | None) -> Path | None:
    if path is None:
        return None
    found = Path(path).expanduser().resolve()
    if not found.is_file():
        raise ConfigError(f"resume={path}: no such checkpoint; expected a file such as runs/…/checkpoints/last.ckpt")
    return found


def _write_facts(values: Mapping[str, Any], folder: Path) -> None:
    """The resolved configuration and what it ran on, for whoever wants to know later."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(values)), folder / "config.yaml")
    facts = {"commit": commit(), "torch": torch.__version__, "lightning": L.__version__}
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")


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
