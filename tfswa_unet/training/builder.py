"""From a composed configuration to a run: data, module, trainer and the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf

from tfswa_unet.bundle import load_model
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import split
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.evaluation.report import commit
from tfswa_unet.songs import write_dataset
from tfswa_unet.training.callbacks import make_callbacks
from tfswa_unet.training.config import LoggerConfig, TrainConfig
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.training.module import SeparationModule


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
    config = from_values(TrainConfig, values, "")
    resume = _checkpoint(config.resume)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = make_data(config)
    module = make_module(config, data.covers_mixture)
    trainer = make_trainer(config, folder)
    if trainer.is_global_zero:
        _write_facts(values, folder)
    return Run(module, data, trainer, folder, resume)


def make_data(config: TrainConfig) -> SegmentDataModule:
    """The data module; a synthetic data set is written first where it is missing."""
    values = dict(config.data)
    make = values.pop("make", None)
    if make:
        write_dataset(values["root"], **make)
    loader = from_values(LoaderConfig, values, "data")
    for_workers, _ = split(config.augmentation)
    try:
        return SegmentDataModule(
            loader,
            StemPlan.from_config(config.stems),
            config.model["rate"],
            config.model["channels"],
            config.seed,
            augmentation=for_workers,
        )
    except DataError as error:
        raise DataError(f"{error} (data.kind={loader.kind} data.root={loader.root})") from None


def make_module(config: TrainConfig, covers_mixture: bool) -> SeparationModule:
    """The Lightning module; stems that leave out a part of the mixture cannot be made to sum to it."""
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
        config.trainer.gradient_clip,
        config.strategy.gradient_checkpointing,
        config.strategy.compile,
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
    arguments = {name: value for name, value in vars(config.trainer).items() if name != "gradient_clip"}
    try:
        return L.Trainer(
            **arguments,
            strategy=config.strategy.kind,
            precision=config.strategy.precision,  # type: ignore[arg-type]
            logger=_loggers(config.logger, folder),
            callbacks=make_callbacks(config.callbacks, folder),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"trainer/strategy: {' '.join(str(error).split())}") from None


def _loggers(config: LoggerConfig, folder: Path) -> list[Logger]:
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(CSVLogger(folder, name="", version="csv"))
    if config.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    if config.wandb:
        loggers.append(WandbLogger(save_dir=folder, **asdict(config.wandb)))
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
