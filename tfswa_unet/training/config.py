"""The training configuration, conf/train.yaml, as frozen records: one for each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainerConfig:
    """See conf/trainer."""

    accelerator: str
    devices: Any  # a number, a list of them, or auto
    num_nodes: int
    max_epochs: int
    max_steps: int
    max_time: str | None
    accumulate_grad_batches: int
    gradient_clip: float
    max_skipped: int
    check_val_every_n_epoch: int
    limit_val_batches: int | float  # batches, or a share of them
    log_every_n_steps: int
    deterministic: bool


@dataclass(frozen=True)
class EmaConfig:
    """See conf/ema."""

    decay: float | None


@dataclass(frozen=True)
class StrategyConfig:
    """See conf/strategy."""

    kind: str
    precision: str
    gradient_checkpointing: bool
    compile: bool


@dataclass(frozen=True)
class WandbConfig:
    """See conf/logger/wandb.yaml."""

    project: str
    name: str | None
    entity: str | None
    offline: bool
    tags: tuple[str, ...]


@dataclass(frozen=True)
class LoggerConfig:
    """See conf/logger."""

    csv: bool
    tensorboard: bool
    wandb: WandbConfig | None


@dataclass(frozen=True)
class CheckpointConfig:
    """See conf/callbacks."""

    every_n_epochs: int
    every_n_minutes: float | None


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """See conf/callbacks."""

    patience: int | None


@dataclass(frozen=True)
class SamplesConfig:
    """See conf/callbacks."""

    every_n_epochs: int | None


@dataclass(frozen=True)
class CallbackConfig:
    """See conf/callbacks."""

    checkpoint: CheckpointConfig
    early_stopping: EarlyStoppingConfig
    samples: SamplesConfig
    progress_bar: bool


@dataclass(frozen=True)
class PathsConfig:
    """See conf/paths."""

    runs: str
    cache: str


SEPARATION, PRETRAIN = "separation", "pretrain"  # tasks


@dataclass(frozen=True)
class TrainConfig:
    """A whole training configuration.

    What names kinds and their options stays a mapping, which the kinds' registries check: the tasks,
    `models.build`, `losses.TERMS`, `AUGMENTATIONS`, `OPTIMIZERS`, `SCHEDULES`.
    """

    task: dict[str, Any]
    seed: int
    resume: str | None
    init_from: str | None
    init_strict: bool
    teacher: str | None
    model: dict[str, Any]
    stems: dict[str, Any]
    data: dict[str, Any]
    augmentation: dict[str, Any] | None
    loss: dict[str, Any] | None
    activity: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    ema: EmaConfig
    trainer: TrainerConfig
    strategy: StrategyConfig
    logger: LoggerConfig
    callbacks: CallbackConfig
    paths: PathsConfig
