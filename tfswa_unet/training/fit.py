"""One training run from its configuration to its checkpoints."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from tfswa_unet.errors import ConfigError
from tfswa_unet.processes import keep_pages
from tfswa_unet.training.builder import Run, build_run, pretrains
from tfswa_unet.training.callbacks import EarlyStopping
from tfswa_unet.training.checkpoints import Checkpoints
from tfswa_unet.training.figures import Figures, summary
from tfswa_unet.training.ranks import OneConfiguration
from tfswa_unet.training.resuming import LAST


def fit(values: Mapping[str, Any], folder: Path) -> float:
    """Train as configured; checkpoints, logs and the resolved configuration go to `folder`.

    Returns:
        the best validation SDR in dB, in pre-training the least loss with its sign turned, so that more is better; NaN
        where no validation had one.

    Raises:
        UserError: for a configuration, data set or checkpoint that cannot be used, before training starts; for a disk
            that is full and a gradient that stays non-finite, in training.
        StoppedError: after SIGINT or SIGTERM, with the checkpoint to go on from.
    """
    keep_pages()
    _quiet()
    run = build_run(values, folder)
    run.trainer.callbacks.append(OneConfiguration(values, run.resume))  # type: ignore[attr-defined]
    checkpoints = _callback(run, Checkpoints)
    console = Console(stderr=True, highlight=False)
    if run.trainer.is_global_zero:
        parameters = sum(parameter.numel() for parameter in run.module.model.parameters())
        tracks = [len(each.reader.lengths) for each in (run.data.training, run.data.validation)]
        console.print(
            f"{run.module.model.model_config.name}: {parameters / 1e6:.1f} M parameters, {_aim(run)}; "
            f"{tracks[0]} train and {tracks[1]} valid tracks; everything goes to {folder}"
        )
    try:
        path = run.resume.path if run.resume else None
        with checkpoints.stoppable(run.resume), _compilable(run):
            run.trainer.fit(run.module, run.data, ckpt_path=path, weights_only=True)
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):
            raise
        raise checkpoints.unwritable_error(f"the run in {folder} cannot go on", error) from None
    finally:
        # Runs of one sweep share a process: an open W&B run would swallow the next one.
        if any(isinstance(logger, WandbLogger) for logger in run.trainer.loggers):
            import wandb

            wandb.finish()
    if run.trainer.is_global_zero:
        console.print(f"ended after step {run.trainer.global_step}: {_reason(run)}")
        console.print(_outcome(checkpoints, folder))
        if run.module.skipped:
            console.print(f"{run.module.skipped} steps had a loss or gradient that was not finite and were skipped")
        last = folder / "checkpoints" / LAST
        checkpoint = checkpoints.best_path or (last if last.is_file() else None)
        table = summary(_callback(run, Figures), run.trainer, checkpoint, run.data.sets)
        console.print(table, soft_wrap=True)
    return checkpoints.monitor.sign * checkpoints.best if checkpoints.best_path else math.nan


@contextmanager
def _compilable(run: Run) -> Iterator[None]:
    """Tell in one sentence that torch could not compile the network."""
    try:
        yield
    except Exception as error:
        if not (run.config.strategy.compile and type(error).__module__.startswith("torch._")):
            raise
        reason = " ".join(str(error).partition("Set TORCH")[0].split())
        raise ConfigError(f"strategy=compile: torch.compile failed here ({reason[:300]}): leave it out") from error


def _aim(run: Run) -> str:
    return "pre-training" if pretrains(run.config) else f"stems {', '.join(run.module.model.stems)}"


def _reason(run: Run) -> str:
    """Why training is over."""
    trainer = run.trainer
    stopping = _callback(run, EarlyStopping)
    timer = _callback(run, Timer)
    if stopping is not None and stopping.reason:
        return stopping.reason
    if timer is not None and (timer.time_remaining() or 0) <= 0:
        return f"trainer.max_time={run.config.trainer.max_time} is over"
    if 0 <= trainer.max_steps <= trainer.global_step:
        return f"trainer.max_steps={trainer.max_steps} is reached"
    return f"trainer.max_epochs={trainer.max_epochs} is reached"


def _outcome(checkpoints: Checkpoints, folder: Path) -> str:
    """The best score and where its checkpoint lies, or the last state where there is no score."""
    if checkpoints.best_path:
        best = f"{checkpoints.monitor.name} {checkpoints.monitor.text(checkpoints.best)}"
        return f"best validation {best}, step {checkpoints.best_step}: {checkpoints.best_path}"
    last = folder / "checkpoints" / LAST
    return (
        f"no validation gave {checkpoints.monitor.one}; the last state: {last}"
        if last.is_file()
        else "no step was taken"
    )


def _callback(run: Run, kind: type[Callback]) -> Any:
    return next((each for each in run.trainer.callbacks if isinstance(each, kind)), None)  # type: ignore[attr-defined]


def _quiet() -> None:
    """Keep Lightning's advice for its developers, and its advertisements, off the user's screen."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*sync_dist.*",  # the module sums over processes itself
        ".*Grad strides do not match bucket view strides.*",
        ".*dataloader is not resumable.*",  # the sampler goes on with the next example, see SegmentDataModule
        ".*callbacks used to create the checkpoint.*",
        ".*log files in this directory will be deleted.*",
        ".*returned a view tensor.*",  # of the sharded network, which nothing changes in place
    ):
        warnings.filterwarnings("ignore", message)
