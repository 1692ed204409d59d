"""Figures of a run: how fast it goes, where its time goes, what memory it takes, and a table of them at its end."""

from __future__ import annotations

import math
import resource
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tfswa_unet.config import choice
from tfswa_unet.data import DataSet
from tfswa_unet.data.tracks import list_data
from tfswa_unet.training.optimization import SDR, Monitor
from tfswa_unet.training.progress import clock

# What Lightning calls the actions, and what they are here; the rest goes into logging and what lies between.
ACTIONS = {
    "run_training_batch": "training",
    "[_TrainingEpochLoop].train_dataloader_next": "waiting for data",
    "validation": "validation",
    "save_checkpoint": "checkpoints",
}
REST = "logging and the rest"
SCORES = ("val/", "val_raw/")


class Clock(Profiler):
    """Seconds that `ACTIONS` took, those of an action within another one its own alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)  # by the names in `ACTIONS`
        self._begun: list[tuple[str, float]] = []  # actions that go on, and when each began, later by what lay within

    def start(self, action_name: str) -> None:
        if action_name in ACTIONS:
            self._begun.append((action_name, time.monotonic()))

    def stop(self, action_name: str) -> None:
        if action_name not in [name for name, _ in self._begun]:
            return
        while (last := self._begun.pop())[0] != action_name:
            pass  # one that an error broke off
        passed = time.monotonic() - last[1]
        self.seconds[ACTIONS[action_name]] += passed
        if self._begun:
            outer, began = self._begun.pop()
            self._begun.append((outer, began + passed))


@dataclass(eq=False, repr=False)
class Figures(Callback):
    """Log what a run costs every `trainer.log_every_n_steps`, and keep its best and last scores.

    - `run/segments_per_second` of all processes, since the last time, without validation and checkpoints;
    - `run/waiting`: the share of that time in which the next batch was not there yet, 0 to 1;
    - `run/aside`: the share of all time so far that went into neither training nor waiting, but into validation,
      checkpoints and logging;
    - `run/memory_gb` and, on a GPU, `run/gpu_memory_gb`: the most so far, of this process, in 10^9 bytes.
    """

    monitor: Monitor  # what validations are compared by
    best: dict[str, float] = field(default_factory=dict)  # metrics of the best validation, and its step
    last: dict[str, float] = field(default_factory=dict)
    since: float | None = None  # when training began
    seconds: float = 0.0  # of training, validation included
    segments: int = 0
    logged: int = 0  # segments when it was last logged
    busy: float = 0.0  # s of training and waiting then
    waited: float = 0.0  # s of waiting then
    clock: Clock = field(init=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), "last": dict(self.last)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.last = state_dict["best"], state_dict["last"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.clock = Clock()
        trainer.profiler = self.clock  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.seconds.clear()  # of the sanity check
        self.since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.segments += len(batch) * trainer.world_size
        self._measure()
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        spent = self.clock.seconds
        busy = spent["training"] + spent["waiting for data"]
        passed = max(busy - self.busy, 1e-9)
        waited = spent["waiting for data"] - self.waited
        pl_module.log_dict(
            {
                "run/segments_per_second": (self.segments - self.logged) / passed,
                "run/waiting": waited / passed,
                "run/aside": max(0.0, 1 - busy / max(self.seconds, 1e-9)),
                **{f"run/{name}": value for name, value in memory().items()},
            }
        )
        self.busy, self.logged, self.waited = busy, self.segments, spent["waiting for data"]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.start("validation")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.stop("validation")
        if trainer.sanity_checking:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(SCORES)}
        self.last = {"step": trainer.global_step, **metrics}
        metric, worst = self.monitor.metric, self.monitor.worst
        if self.monitor.is_better(metrics.get(metric, worst), self.best.get(metric, worst)):
            self.best = self.last

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure()  # the last checkpoint included

    def shares(self) -> dict[str, float]:
        """Where the time went, 0 to 1, by what it was spent on; nothing where no step was taken."""
        if not self.seconds:
            return {}
        shares = {name: self.clock.seconds[name] / self.seconds for name in ACTIONS.values()}
        return {**shares, REST: max(0.0, 1 - sum(shares.values()))}

    def _measure(self) -> None:
        if self.since is not None:
            self.seconds = time.monotonic() - self.since


def memory() -> dict[str, float]:
    """The most memory that this process has held so far, 10^9 bytes: `memory_gb`, on a GPU `gpu_memory_gb`."""
    unit = 1 if sys.platform == "darwin" else 1024
    held = {"memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if torch.cuda.is_available():
        held["gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return held


def summary(figures: Figures, trainer: Trainer, checkpoint: Path | None, sets: Mapping[str, DataSet]) -> Group:
    """What came out of a run, at most 80 columns wide, and how to go on from it.

    Args:
        figures: of the run.
        trainer: of the run.
        checkpoint: to be scored; None where there is none.
        sets: data sets of the run.
    """
    parts: list[Any] = [_scores(figures)] if figures.last else []
    shares = figures.shares()
    if shares:
        held = ", ".join(f"{value:.1f} GB {name.removesuffix('_gb')}" for name, value in memory().items())
        speed = figures.segments / max(
            figures.clock.seconds["training"] + figures.clock.seconds["waiting for data"], 1e-9
        )
        parts.append(Text(f"{trainer.global_step:,} steps, {clock(figures.seconds)}, {speed:.1f} segments/s, {held}"))
        parts.append(Text("time: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())))
    if checkpoint is None:
        return Group(*parts)
    name = shlex.quote(str(checkpoint))
    if figures.monitor != SDR:
        parts.append(Text(f"go on to stems: python train.py init_from={name}, with the same model="))
    else:
        parts.append(Text(f"score it:  {eval_command(checkpoint, sets)}"))
        parts.append(Text(f"bundle it: tfswa bundle {name} -o model.safetensors"))
    return Group(*parts)


def _scores(figures: Figures) -> Table:
    """Scores of each stem or term, best and last, of the averaged weights and the raw ones."""
    monitor = figures.monitor
    name = monitor.metric.removeprefix("val/")
    unit = f" ({monitor.unit})" if monitor.unit else ""
    table = Table(title=f"validation {monitor.name}{unit}", title_justify="left", title_style="")
    begin = f"{monitor.metric}_"
    stems = [each.removeprefix(begin) for each in figures.last if each.startswith(begin)]
    raw = any(name.startswith("val_raw/") for name in figures.last)
    columns = [
        (group, metrics, label)
        for metrics, label in ((figures.best, "best"), (figures.last, "last"))
        for group in (("val", "val_raw") if raw else ("val",))
    ]
    table.add_column(monitor.part, overflow="fold")
    for group, metrics, label in columns:
        what = ("raw" if group == "val_raw" else "average") if raw else ""
        table.add_column(f"{label} {what}\nstep {int(metrics.get('step', 0)):,}", justify="right")
    for stem in (*stems, None):
        key = name if stem is None else f"{name}_{stem}"
        cells = (metrics.get(f"{group}/{key}", math.nan) for group, metrics, _ in columns)
        table.add_row(
            stem or ("mean" if monitor == SDR else "sum"),
            *(f"{cell:.2f}" if math.isfinite(cell) else "–" for cell in cells),
        )
    return table


def eval_command(checkpoint: Path, sets: Mapping[str, DataSet]) -> str:
    """The command that scores a checkpoint on the data sets of its run: their test songs, or else their valid ones."""
    kinds = {each.kind: each for each in reversed(list(sets.values()))}  # the first of each kind
    names = list(kinds)[::-1]
    words = [f"ckpt={checkpoint}"]
    if names != ["musdb18hq"]:
        words.append(f"data={names[0]}" if len(names) == 1 else f"data=[{','.join(names)}]")
    for name in names:
        words.append(
            f"data.root={kinds[name].root}" if len(names) == 1 else f"data.sets.{name}.root={kinds[name].root}"
        )
        usual = choice("data", name)["sets"][name].get("options", {}) if name != "auto" else {}
        changed = {key: value for key, value in kinds[name].options.items() if value != usual.get(key)}
        words += [f"data.sets.{name}.options.{key}={value}" for key, value in changed.items()]
    songs = [song for each in list_data({name: kinds[name] for name in names}).values() for song in each]
    if not any(song.split == "test" for song in songs):
        words.append("split=valid")
    return shlex.join(["python", "eval.py", *words])
