"""How far a run is, so that schedules end when the run ends, whichever limit ends it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning import Trainer
from lightning.pytorch.callbacks import Timer


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
