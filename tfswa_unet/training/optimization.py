"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Timer
from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tfswa_unet.errors import ConfigError, unknown


@dataclass(frozen=True)
class Progress:
    """Optimizer steps and epochs done, and the share of the whole run, 0 to 1."""

    step: int
    epoch: float
    share: float


def progress(trainer: Trainer) -> Progress:
    """How far `trainer` is: the share by steps, or by `max_time` where that is further on."""
    step = trainer.global_step
    if step == 0:
        return Progress(0, 0.0, 0.0)
    per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    limits = [math.inf]
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(per_epoch * trainer.max_epochs)
    shares = [step / min(limits)]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and callback._duration:
            shares.append(callback.time_elapsed("train") / callback._duration)
    return Progress(step, step / per_epoch, min(1.0, max(shares)))


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam}


def make_optimizer(config: dict[str, Any], model: nn.Module) -> Optimizer:
    """An optimizer over a model's parameters; weight decay spares biases and norms.

    Args:
        config: `name`, `lr`, and whatever else torch's optimizer takes.
        model: whose parameters are trained.

    Raises:
        ConfigError: for an unknown name, argument or value.
    """
    options = dict(config)
    name = options.pop("name")
    decay = options.pop("weight_decay", 0.0)
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    try:
        return OPTIMIZERS[name](groups, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer.{name}: {error}") from None


def cosine(now: Progress, warmup_steps: int = 500, floor: float = 0.0) -> float:
    """Linear warm-up over `warmup_steps`, times half a cosine over the run down to `floor`."""
    warm = min(1.0, (now.step + 1) / max(1, warmup_steps))
    return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * now.share)))


def step(now: Progress, every_steps: int = 10_000, factor: float = 0.5) -> float:
    """Multiply by `factor` every `every_steps` optimizer steps."""
    return factor ** (now.step // every_steps)


def exponential(now: Progress, every_epochs: float = 1.5, factor: float = 0.9) -> float:
    """Multiply by `factor` every `every_epochs` epochs, as the paper does (doi 10.1186/s13634-025-01249-0)."""
    return factor ** int(now.epoch / every_epochs + 1e-9)


def constant(now: Progress) -> float:
    """The base rate throughout."""
    return 1.0


SCHEDULES: dict[str, Callable[..., float]] = {
    "cosine": cosine,
    "step": step,
    "exponential": exponential,
    "constant": constant,
}


def make_schedule(config: dict[str, Any], optimizer: Optimizer, now: Callable[[], Progress]) -> LambdaLR:
    """A schedule to be stepped after every optimizer step.

    Args:
        config: `name` and its arguments.
        optimizer: whose rates are scaled.
        now: tells how far the run is.

    Raises:
        ConfigError: for an unknown name or argument.
    """
    options = dict(config)
    name = options.pop("name")
    if name not in SCHEDULES:
        raise unknown("scheduler", name, SCHEDULES)
    schedule = SCHEDULES[name]
    allowed = list(inspect.signature(schedule).parameters)[1:]
    surplus = sorted(set(options) - set(allowed))
    if surplus:
        raise ConfigError(
            f"scheduler.{name} got unknown {', '.join(surplus)}: it takes {', '.join(allowed) or 'nothing'}"
        )
    return LambdaLR(optimizer, lambda _: schedule(now(), **options))
