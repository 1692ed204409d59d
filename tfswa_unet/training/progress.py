"""The one line that tells how far a run is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tfswa_unet.training.optimization import Monitor, time_limit, total_steps

COLUMNS = 80  # of a terminal at least
REFRESH = 0.5  # s between changes of the line on a terminal
REPORT = 30.0  # s between lines where there is no terminal


@dataclass(eq=False, repr=False)
class ProgressLine(Callback):
    """Show `describe` on the last line of a terminal, or every 30 s where stderr goes elsewhere."""

    monitor: Monitor  # what validations are compared by
    live: Live | None = None
    loss: Any = None
    shown = since = 0.0
    segments = 0
    rate: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.console = Console(stderr=True, highlight=False)
        self.shown = time.monotonic()
        self._restart()
        if self.console.is_terminal:
            self.live = Live(console=self.console, transient=True, auto_refresh=False)
            self.live.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.loss = outputs["loss"]
        self.segments += len(batch) * trainer.world_size
        self._show(trainer, REFRESH if self.live else REPORT)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._show(trainer, REFRESH if self.live else 0.0)
            self._restart()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _show(self, trainer: Trainer, after: float) -> None:
        now = time.monotonic()
        if not trainer.is_global_zero or now - self.shown < after:
            return
        self.shown = now
        if self.segments:
            self.rate = self.segments / (now - self.since)
            self._restart()
        score = trainer.callback_metrics.get(self.monitor.metric)
        told = None if score is None else f"{self.monitor.name} {self.monitor.text(float(score))}"
        line = describe(trainer, None if self.loss is None else float(self.loss), told, self.rate)
        if self.live:
            self.live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.console.print(line, soft_wrap=True)

    def _restart(self) -> None:
        """Measure speed anew, so that it is that of now, without validations."""
        self.since, self.segments = time.monotonic(), 0

    def _stop(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None


def describe(trainer: Trainer, loss: float | None, score: str | None, rate: float | None) -> str:
    """The line of a run, at most 80 characters: its place in the budget, loss, validation score, speed.

    Args:
        trainer: of the run.
        loss: of the last step.
        score: of the last validation, in words.
        rate: segments a second.
    """
    limit, steps = time_limit(trainer), total_steps(trainer)
    epoch, place = f"epoch {trainer.current_epoch + 1} ", f"step {trainer.global_step:,}"
    if limit:
        place += f" {clock(limit[0])}/{clock(limit[1])}"
    elif math.isfinite(steps):
        place += f"/{int(steps):,}"
    parts = [place]
    if loss is not None:
        parts.append(f"loss {loss:.3g}")
    if score is not None:
        parts.append(score)
    if rate is not None:
        parts.append(f"{rate:.1f} seg/s" if rate < 100 else f"{rate:,.0f} seg/s")
    line = "  ".join(parts)
    return epoch + line if len(epoch + line) <= COLUMNS else line


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are some, such as 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
