"""From a composed configuration to a run: data, module, trainer and the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import OmegaConf

from tfswa_unet.bundle import load_model, read_facts
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import split
from tfswa_unet.data.sets.layouts import SET, read_sources
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.report import commit
from tfswa_unet.songs.making import sources_of
from tfswa_unet.training.callbacks import make_callbacks, make_loggers
from tfswa_unet.training.checkpoints import CheckpointFiles, Source
from tfswa_unet.training.config import TrainConfig
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.training.module import SeparationModule
from tfswa_unet.training.resuming import Resumable, read_resumable


@dataclass(frozen=True)
class Run:
    """Everything that `Trainer.fit` needs."""

    config: TrainConfig
    module: SeparationModule
    data: SegmentDataModule
    trainer: L.Trainer
    folder: Path
    resume: Resumable | None


def build_run(values: Mapping[str, Any], folder: Path) -> Run:
    """Make a run from plain configuration values; everything a user can get wrong is refused here.

    Args:
        values: the resolved configuration, see `TrainConfig`.
        folder: where checkpoints, logs and the resolved configuration go.

    Raises:
        ConfigError: for unknown keys, names or values.
        DataError: for a data set, or its table of sources, that is missing or unusable.
        ModelError: for a checkpoint to start from that does not fit.
    """
    config = from_values(TrainConfig, values, "")
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = make_data(config)
    module = make_module(config, data.covers_mixture)
    sources = make_sources(config, data)
    resume = read_resumable(config.resume, folder, module.hparams) if config.resume else None
    trainer = make_trainer(config, folder, resume, sources)
    if trainer.is_global_zero:
        _write_facts(values, folder)
    return Run(config, module, data, trainer, folder, resume)


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


def make_sources(config: TrainConfig, data: SegmentDataModule) -> list[Source]:
    """What a model learns from: the data sets' tables of sources, and those of the weights that it starts from.

    Songs that are yet to be rendered have those of their recordings.
    """
    sources = read_sources({name: each.root for name, each in data.sets.items()})
    rendered = [(name, each) for name, each in data.sets.items() if each.render]
    sources += [{SET: name, **row} for name, each in rendered for row in sources_of(each)]
    if config.init_from:
        sources = [*read_facts(config.init_from).get("training", {}).get("sources", []), *sources]
    return sources


def make_trainer(
    config: TrainConfig, folder: Path, resume: Resumable | None = None, sources: Sequence[Source] = ()
) -> L.Trainer:
    """The Lightning trainer with its loggers and callbacks."""
    arguments = {name: value for name, value in vars(config.trainer).items() if name != "gradient_clip"}
    try:
        return L.Trainer(
            **arguments,
            strategy=config.strategy.kind,
            precision=config.strategy.precision,  # type: ignore[arg-type]
            logger=make_loggers(config.logger, folder, resume),
            callbacks=make_callbacks(config.callbacks, folder, sources),
            plugins=CheckpointFiles(),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"trainer/strategy: {' '.join(str(error).split())}") from None


def _write_facts(values: Mapping[str, Any], folder: Path) -> None:
    """The resolved configuration and what it ran on, for whoever wants to know later."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(values)), folder / "config.yaml")
    facts = {"commit": commit(), "torch": torch.__version__, "lightning": L.__version__}
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
