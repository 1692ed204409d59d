"""Learning-rate schedules by name, each a factor on the base rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.training.progress import Progress


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
