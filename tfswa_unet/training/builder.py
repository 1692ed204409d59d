"""From a composed configuration to a run: data, module, trainer and the run's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from omegaconf import OmegaConf
from torch import Tensor, nn

from tfswa_unet.bundle import is_pretrained, load_model, read_facts
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import split
from tfswa_unet.data.sets.layouts import SET, read_sources
from tfswa_unet.errors import ConfigError, RunError, unknown
from tfswa_unet.evaluation.report import commit
from tfswa_unet.songs.making import sources_of
from tfswa_unet.training.callbacks import make_callbacks, make_loggers
from tfswa_unet.training.checkpoints import CheckpointFiles, Pieces
from tfswa_unet.training.config import PRETRAIN, SEPARATION, TrainConfig
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.training.module import SeparationModule, TrainingModule
from tfswa_unet.training.optimization import Monitor
from tfswa_unet.training.pretraining import MixtureDataModule, PretrainingModule
from tfswa_unet.training.resuming import Resumable, read_resumable, say
from tfswa_unet.training.sharding import ShardedModule, ShardedStrategy
from tfswa_unet.training.teacher import Teacher

OURS = ("gradient_clip", "max_skipped")  # of conf/trainer; the rest is Lightning's
SHARDED = "fsdp"  # of strategy.kind; the rest are Lightning's here too


@dataclass(frozen=True)
class Run:
    """Everything that `Trainer.fit` needs."""

    config: TrainConfig
    module: TrainingModule
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
        ModelError: for a checkpoint to start from that cannot be used.
        RunError: for a folder that cannot be written.
    """
    values = with_model({"loss": None, **values})
    config = from_values(TrainConfig, values, "")
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = make_data(config)
    teacher = Teacher(config.teacher, config.stems, config.model, data.config.batch_size) if config.teacher else None
    module = make_module(config, teacher.covers_mixture if teacher else data.covers_mixture)
    if isinstance(module, SeparationModule):
        module.teacher = teacher
    pieces = make_pieces(config, data)
    resume = read_resumable(config.resume, folder, module.hparams) if config.resume else None
    trainer = make_trainer(config, folder, resume, pieces, module.monitor)
    if trainer.is_global_zero:
        try:
            _write_facts(values, folder)
        except OSError as error:
            raise RunError(
                f"the run's folder {folder} cannot be written ({error.strerror}): name another, hydra.run.dir=FOLDER"
            ) from None
    return Run(config, module, data, trainer, folder, resume)


def with_model(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration; a model that has no more than a name gets the rest of that of `init_from`.

    Raises:
        ConfigError: where there is none to take it from.
        ModelError: for a file that holds no model.
    """
    model = values.get("model") or {}
    if model.keys() - {"name"}:
        return dict(values)
    if not values.get("init_from"):
        raise ConfigError(
            "model is missing: choose one, such as model=tfswa_base, or give init_from=, whose it then is"
        )
    return {**values, "model": {**load_model(values["init_from"], pretrained=True).config, **model}}


def make_data(config: TrainConfig) -> SegmentDataModule:
    """The data module: its songs are found, and made, decoded and listened to when training begins."""
    for_workers, _ = split(config.augmentation)
    kind = MixtureDataModule if pretrains(config) else SegmentDataModule
    return kind(
        from_values(LoaderConfig, config.data, "data"),
        StemPlan.from_config(config.stems),
        config.model["rate"],
        config.model["channels"],
        config.seed,
        augmentation=for_workers,
        mixtures=config.teacher is not None,
    )


def pretrains(config: TrainConfig) -> bool:
    """Whether the task is pre-training, which takes songs without stems.

    Raises:
        ConfigError: for another task than there are.
    """
    name = config.task.get("name")
    if name not in (SEPARATION, PRETRAIN):
        raise unknown("task.name", name, (SEPARATION, PRETRAIN))
    return name == PRETRAIN


def make_module(config: TrainConfig, covers_mixture: bool) -> TrainingModule:
    """The Lightning module; stems that leave out a part of the mixture cannot be made to sum to it."""
    model = {
        **config.model,
        "stems": config.stems,
        "sums_to_mixture": config.model["sums_to_mixture"] and covers_mixture,
    }
    sharded = config.strategy.kind == SHARDED
    if pretrains(config):
        module = _pretraining(config, model, sharded)
    else:
        module = _separation(config, model, sharded)
    if config.init_from:
        take_weights(module.model, config.init_from, config.init_strict)
    return module


def _pretraining(config: TrainConfig, model: dict[str, Any], sharded: bool) -> TrainingModule:
    refused = {
        "has losses of its own: leave out loss=, with ~loss where an experiment has it": config.loss,
        "keeps the weights whole: leave out strategy=fsdp, or train by strategy=ddp": sharded,
        "takes mixtures as they are: leave out teacher=": config.teacher,
        "has no stems that sound: set activity=none": config.activity,
        "has no stems to show: set callbacks.samples.every_n_epochs=null": config.callbacks.samples.every_n_epochs,
    }
    for why, value in refused.items():
        if value:
            raise ConfigError(f"task=pretrain {why}")
    module = PretrainingModule(model, config.task, **_common(config))
    if module.task.contrastive.weight and config.data["batch_size"] < 2:
        raise ConfigError(
            "task.contrastive tells the songs of a batch apart: set data.batch_size to 2 or more, or "
            "task.contrastive.weight=0"
        )
    return module


def _separation(config: TrainConfig, model: dict[str, Any], sharded: bool) -> TrainingModule:
    if sharded and config.ema.decay is not None:
        raise ConfigError(
            "strategy=fsdp has no average of the weights, which are cut over the devices: set ema.decay=null, or train "
            "by strategy=ddp"
        )
    if sharded and config.optimizer.get("name") == "soap":
        raise ConfigError(
            "optimizer=soap works on whole weights, which strategy=fsdp cuts over the devices: take optimizer=adamw, "
            "or train by strategy=ddp"
        )
    if config.activity and (sharded or config.strategy.compile):
        raise ConfigError(
            "activity is learned from features inside the network, which strategy=fsdp and compile take apart: set "
            "activity=none, or train by another strategy"
        )
    kind = ShardedModule if sharded else SeparationModule
    return kind(model, config.loss or {}, **_common(config), activity=config.activity)


def _common(config: TrainConfig) -> dict[str, Any]:
    """What modules of all tasks take."""
    return {
        "optimizer": config.optimizer,
        "scheduler": config.scheduler,
        "augmentation": config.augmentation or {},
        "gradient_clip": config.trainer.gradient_clip,
        "max_skipped": config.trainer.max_skipped,
        "gradient_checkpointing": config.strategy.gradient_checkpointing,
        "compile": config.strategy.compile,
        "seed": config.seed,
    }


def take_weights(model: nn.Module, path: str, strict: bool) -> None:
    """Begin with another model's weights.

    Args:
        model: whose weights are set.
        path: of a bundle or checkpoint.
        strict: take all or none; otherwise those that fit by name and shape, and say which do not.

    Of a model that was only pre-trained the last layers are left out, since they learned to predict hidden patches.

    Raises:
        ConfigError: where one does not fit, or, if not strict, none does.
        ModelError: for a file that holds no model.
    """
    loaded = load_model(path, pretrained=True)
    theirs, ours = loaded.state_dict(), model.state_dict()
    if is_pretrained(read_facts(path)):
        last = _last_weights(model)
        say("init_from=%s is pre-trained: %s begin anew", path, " and ".join(last))
        theirs, ours = ({k: v for k, v in each.items() if k not in last} for each in (theirs, ours))
    shapes = {name: (_shape(theirs.get(name)), _shape(ours.get(name))) for name in {**ours, **theirs}}
    unfit = {name: shape for name, shape in shapes.items() if shape[0] != shape[1]}
    told = [f"{name} is {there} there and {here} here" for name, (there, here) in unfit.items()]
    first = ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
    fitting = len(shapes) - len(unfit)
    if unfit and (strict or not fitting):
        instead = f"; init_strict=false takes the {fitting} that fit" if fitting else ""
        raise ConfigError(f"init_from={path} does not fit this model: {first}{instead}")
    if unfit:
        say("init_from=%s: %d weights are taken, %d do not fit: %s", path, fitting, len(unfit), first)
    model.load_state_dict({name: value for name, value in theirs.items() if name not in unfit}, strict=False)


def _last_weights(model: Any) -> list[str]:
    """Names of the weights of a model's last layers."""
    last = {parameter for layer in model.network.last_layers() for parameter in layer.parameters()}
    return [name for name, parameter in model.named_parameters() if parameter in last]


def _shape(weight: Tensor | None) -> str:
    return "missing" if weight is None else str(tuple(weight.shape))


def make_pieces(config: TrainConfig, data: SegmentDataModule) -> Pieces:
    """What a model learns from, the data sets' tables of sources, behind the sources and pieces of `init_from`.

    A teacher's sources are among them. Songs that are yet to be rendered have the sources of their recordings.
    """
    sources = read_sources({name: each.root for name, each in data.sets.items()})
    rendered = [(name, each) for name, each in data.sets.items() if each.render]
    sources += [{SET: name, **row} for name, each in rendered for row in sources_of(each)]
    before, taught = (
        read_facts(path).get("training", {}) if path else {} for path in (config.init_from, config.teacher)
    )
    return Pieces([*before.get("sources", []), *taught.get("sources", []), *sources], before.get("pieces", []))


def make_trainer(
    config: TrainConfig, folder: Path, resume: Resumable | None, pieces: Pieces, monitor: Monitor
) -> L.Trainer:
    """The Lightning trainer with its loggers and callbacks."""
    arguments = {name: value for name, value in vars(config.trainer).items() if name not in OURS}
    try:
        trainer = L.Trainer(
            **arguments,
            strategy=ShardedStrategy() if config.strategy.kind == SHARDED else config.strategy.kind,
            precision=config.strategy.precision,  # type: ignore[arg-type]
            logger=make_loggers(config.logger, folder, resume),
            callbacks=make_callbacks(config.callbacks, config.ema.decay, folder, pieces, monitor),
            plugins=CheckpointFiles(),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=1,
        )
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"trainer/strategy: {' '.join(str(error).split())}") from None
    launcher = trainer.strategy.launcher
    starts = isinstance(launcher, _SubprocessScriptLauncher) and trainer.world_size > 1
    if is_multirun() and starts and not launcher.cluster_environment.creates_processes_externally:  # type: ignore
        raise ConfigError(
            f"with -m, each of the {trainer.world_size} processes of a run would start the whole sweep again: put "
            "`torchrun --nproc-per-node N` in front of train.py, use sweep=optuna, or set trainer.devices=1"
        )
    return trainer


def is_multirun() -> bool:
    """Whether this process was started as a sweep of Hydra's, with -m."""
    return bool({"-m", "--multirun"} & set(sys.argv))


def _write_facts(values: Mapping[str, Any], folder: Path) -> None:
    """The resolved configuration and what it ran on, for whoever wants to know later."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(values)), folder / "config.yaml")
    facts = {"commit": commit(), "torch": torch.__version__, "lightning": L.__version__}
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
