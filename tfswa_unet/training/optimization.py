"""Optimizers, schedules that follow how far a run is, averaged weights, and the number by which they are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, WeightAveraging
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tfswa_unet.config import Registry
from tfswa_unet.errors import ConfigError

# Optimizers, made of `make_optimizer`'s two parameter groups and the options of conf/optimizer.
OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer", positional=1)
OPTIMIZERS.register("adamw")(AdamW)
OPTIMIZERS.register("adam")(Adam)

# Factors on the base rate, of how far the run is and the options of conf/scheduler.
SCHEDULES: Registry[Callable[..., float]] = Registry("scheduler", positional=1)

WARM_UP = 10  # steps after which the average looks back over a tenth as many steps as there were


@dataclass(frozen=True)
class Monitor:
    """The number by which validations are compared; what it is the mean or sum of is logged as `METRIC_part`."""

    metric: str  # under which it is logged
    name: str
    unit: str  # of it, behind a number; "" for none
    part: str  # what its parts are called
    sign: int  # 1 where more is better, −1 where less is

    @property
    def one(self) -> str:
        """Its name with an article."""
        return f"an {self.name}" if self.name.isupper() else f"a {self.name}"

    @property
    def worst(self) -> float:
        """What every value is better than."""
        return -self.sign * math.inf

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another; NaN is not."""
        return self.sign * value > self.sign * other

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.2f} {self.unit}".strip()


SDR = Monitor("val/sdr", "SDR", "dB", "stem", 1)


@dataclass(frozen=True)
class RunProgress:
    """Optimizer steps and epochs done, and the share of the whole run, 0 to 1."""

    step: int
    epoch: float
    share: float


def run_progress(trainer: Trainer) -> RunProgress:
    """How far `trainer` is: the share by steps, or by `max_time` where that is further on."""
    step = trainer.global_step
    if step == 0:
        return RunProgress(0, 0.0, 0.0)
    shares = [step / total_steps(trainer)]
    if limit := time_limit(trainer):
        shares.append(limit[0] / limit[1])
    return RunProgress(step, step / _steps_per_epoch(trainer), min(1.0, max(shares)))


def total_steps(trainer: Trainer) -> float:
    """Optimizer steps after which `max_steps` or `max_epochs` ends the run; infinity where neither does."""
    limits = [math.inf]
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(_steps_per_epoch(trainer) * trainer.max_epochs)
    return min(limits)


def time_limit(trainer: Trainer) -> tuple[float, float] | None:
    """Seconds trained so far and those of `trainer.max_time`, where that is set."""
    timers = (each for each in trainer.callbacks if isinstance(each, Timer))  # type: ignore[attr-defined]
    return next(((timer.time_elapsed("train"), float(timer._duration)) for timer in timers if timer._duration), None)


def make_optimizer(config: Mapping[str, Any], model: nn.Module) -> Optimizer:
    """An optimizer over a model's parameters; weight decay spares biases and norms.

    Args:
        config: `name`, `lr`, and whatever else torch's optimizer takes.
        model: whose parameters are trained.

    Raises:
        ConfigError: for an unknown name, option or value.
    """
    options = dict(config)
    decay = options.pop("weight_decay", 0.0)
    make = OPTIMIZERS.choose(options)
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    try:
        return make(groups)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer.{config['name']}: {error}") from None


@OPTIMIZERS.register("soap")
def soap(
    groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], precondition_frequency: int
) -> Optimizer:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner. Source: arXiv 2409.11321.

    Args:
        groups: weights, then biases and norms.
        lr: of all.
        betas: of the means of gradients and of their squares.
        precondition_frequency: steps between two eigenbases.
    """
    try:
        from pytorch_optimizer import SOAP  # which takes seconds
    except ImportError:
        raise ConfigError(
            "optimizer=soap needs the package pytorch-optimizer: pip install 'tfswa-unet[optim]', or take "
            "optimizer=adamw"
        ) from None
    return SOAP(groups, lr=lr, betas=betas, precondition_frequency=precondition_frequency)


def make_schedule(config: Mapping[str, Any], optimizer: Optimizer, now: Callable[[], RunProgress]) -> LambdaLR:
    """A schedule to be stepped after every optimizer step.

    Args:
        config: `name` and its options.
        optimizer: whose rates are scaled.
        now: tells how far the run is.

    Raises:
        ConfigError: for an unknown name or option.
    """
    schedule = SCHEDULES.choose(config)
    return LambdaLR(optimizer, lambda _: schedule(now()))


@SCHEDULES.register("cosine")
def cosine(now: RunProgress, warmup_steps: int, floor: float) -> float:
    """Linear warm-up over `warmup_steps`, times half a cosine over the run down to `floor`."""
    warm = min(1.0, (now.step + 1) / max(1, warmup_steps))
    return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * now.share)))


@SCHEDULES.register("step")
def step(now: RunProgress, every_steps: int, factor: float) -> float:
    """Multiply by `factor` every `every_steps` optimizer steps."""
    return factor ** (now.step // every_steps)


@SCHEDULES.register("exponential")
def exponential(now: RunProgress, every_epochs: float, factor: float) -> float:
    """Multiply by `factor` every `every_epochs` epochs, as the paper does (doi 10.1186/s13634-025-01249-0)."""
    return factor ** int(now.epoch / every_epochs + 1e-9)


@SCHEDULES.register("constant")
def constant(now: RunProgress) -> float:
    """The base rate throughout."""
    return 1.0


def _steps_per_epoch(trainer: Trainer) -> int:
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


class AveragedWeights(WeightAveraging):
    """Exponential moving average (EMA) of the weights and running statistics, beside those that are trained.

    It looks back over about 1 / (1 − `decay`) steps, fewer in the beginning: the decay warms up as that of TensorFlow's
    ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)). Checkpoints hold the average as `state_dict`, which models
    and bundles are made from; training goes on from the raw weights, which they hold as `current_model_state`.

    Raises ConfigError for a decay that is not between 0 and 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"ema.decay is {decay:g}, expected between 0 and 1, or ema=none")

        def average(averages: Any, weights: Any, count: Tensor | int) -> None:
            share = 1 - min(decay, (1 + int(count)) / (WARM_UP + int(count)))
            if averages[0].is_floating_point():  # they come by their types; whole numbers never change in training
                torch._foreach_lerp_(averages, weights, share)

        super().__init__(use_buffers=True, multi_avg_fn=average)

    @property
    def module(self) -> Any:
        """The Lightning module with the average as its weights, while a run goes on."""
        return cast(Any, self._average_model).module

    # Both are validated, each in its place, and a run that goes on needs the raw ones in theirs.
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None: ...

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None: ...

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None: ...
