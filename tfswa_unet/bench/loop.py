"""One training loop for every network: the same wall-clock, batches, loss, optimizer and schedule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.bench.measures import synchronise
from tfswa_unet.bench.results import tell
from tfswa_unet.config import choice
from tfswa_unet.errors import ModelError
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.training.optimization import Progress, make_optimizer, make_schedule

OPTIMIZER, SCHEDULER = "adamw", "cosine"  # of conf/optimizer and conf/scheduler
BAD_STEPS = 20  # in a row, before training stops


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    minutes: float
    lr: float
    loss: dict[str, Any]  # as in conf/loss
    warmup_steps: int = 30  # a trial lasts minutes, not days
    clip: float = 1.0  # largest gradient norm
    report_seconds: float = 30.0  # between lines of progress


@dataclass(frozen=True)
class Trained:
    """What training did; `loss` is the mean over the last tenth of the steps."""

    steps: int
    seconds: float  # s of training
    audio_seconds: float  # s of mixtures seen, repetitions included
    segments_per_second: float
    loss: float
    bad_steps: int  # left out because their gradient was not finite


def train(model: Any, batches: Iterator[Tensor], training: Training, name: str) -> Trained:
    """Train until the time is up; the clock runs from the first batch's arrival to the last step's end.

    Args:
        model: maps mixtures (b, c, t) to stems (b, s, c, t); with `spectra`, losses are read off those as in
            `SeparationModule`.
        batches: stems (b, s, c, t); the mixture is their sum.
        training: how.
        name: for lines of progress.

    Raises:
        ModelError: when too many steps in a row have no finite gradient.
    """
    device = next(model.parameters()).device
    loss = WeightedLoss(training.loss)
    optimizer = make_optimizer({**choice("optimizer", OPTIMIZER), "lr": training.lr}, model)
    schedule = {**choice("scheduler", SCHEDULER), "warmup_steps": training.warmup_steps}
    limit = 60 * training.minutes
    losses: list[float] = []
    elapsed = told = heard = 0.0
    scheduler = make_schedule(schedule, optimizer, lambda: Progress(len(losses), 0.0, min(1.0, elapsed / limit)))
    bad = in_a_row = 0
    model.train()
    stems = next(batches)
    start = time.perf_counter()
    while elapsed < limit:
        stems = stems.to(device, non_blocking=True)
        total, _ = objective(model, loss, stems, len(losses))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        if torch.isfinite(norm):
            optimizer.step()
            in_a_row = 0
        else:
            bad, in_a_row = bad + 1, in_a_row + 1
            if in_a_row >= BAD_STEPS:
                raise ModelError(f"{name}: {BAD_STEPS} steps in a row had no finite gradient: lower its learning rate")
        losses.append(total.item())
        heard += stems.shape[0] * stems.shape[-1] / model.rate
        synchronise(device)
        elapsed = time.perf_counter() - start
        scheduler.step()
        if elapsed - told >= training.report_seconds:
            told = elapsed
            tell(f"{name}: {elapsed:.0f} of {limit:.0f} s, step {len(losses)}, loss {_last(losses):.4g}")
        if elapsed < limit:
            stems = next(batches)
    return Trained(
        steps=len(losses),
        seconds=elapsed,
        audio_seconds=heard,
        segments_per_second=len(losses) * stems.shape[0] / elapsed,
        loss=_last(losses),
        bad_steps=bad,
    )


def _last(losses: list[float]) -> float:
    recent = losses[-max(1, len(losses) // 10) :]
    return sum(recent) / len(recent)
