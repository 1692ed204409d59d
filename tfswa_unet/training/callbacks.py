"""What watches a run: loggers, the progress line, early stopping, samples to look at and listen to."""

from __future__ import annotations

import csv
import logging
import math
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.files import replacing
from tfswa_unet.training.averaging import AveragedWeights
from tfswa_unet.training.checkpoints import MONITOR, Checkpoints, Pieces
from tfswa_unet.training.config import CallbackConfig, LoggerConfig
from tfswa_unet.training.optimization import time_limit, total_steps
from tfswa_unet.training.resuming import Resumable

COLUMNS = 80  # of a terminal at least
REFRESH = 0.5  # s between changes of the line on a terminal
REPORT = 30.0  # s between lines where there is no terminal

log = logging.getLogger(__name__)


def make_callbacks(config: CallbackConfig, folder: Path, pieces: Pieces) -> list[Callback]:
    """Callbacks of a run whose checkpoints lie under `folder`/checkpoints and go on from these `pieces`."""
    callbacks: list[Callback] = [
        Checkpoints(folder / "checkpoints", config.checkpoint),
        LearningRateMonitor("step"),
        SilentValidation(),
        pieces,
    ]
    if config.average.decay is not None:
        callbacks.append(AveragedWeights(config.average.decay))
    if config.early_stopping.patience is not None:
        callbacks.append(EarlyStopping(config.early_stopping.patience))
    if config.samples.every_n_epochs is not None:
        callbacks.append(Samples(config.samples.every_n_epochs))
    if config.progress_bar:
        callbacks.append(ProgressLine())
    return callbacks


def make_loggers(config: LoggerConfig, folder: Path, resume: Resumable | None) -> list[Logger]:
    """The loggers of a run in `folder`.

    Args:
        config: which ones.
        folder: csv/metrics.csv and tensorboard/ lie below it.
        resume: the checkpoint from which the run goes on, or None.
    """
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(AppendingCSVLogger(folder, resume))
    if config.tensorboard:
        # Steps that the checkpoint has not done will come again.
        again = resume.step if resume else None
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=again))
    if config.wandb:
        loggers.append(WandbLogger(save_dir=folder, **asdict(config.wandb)))
    return loggers


class ProgressLine(Callback):
    """Show `describe` on the last line of a terminal, or every 30 s where stderr goes elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live: Live | None = None
        self.loss: Any = None
        self.shown = self.since = 0.0
        self.segments = 0
        self.rate: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
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
        sdr = trainer.callback_metrics.get("val/sdr")
        loss = None if self.loss is None else float(self.loss)
        line = describe(trainer, loss, None if sdr is None else float(sdr), self.rate)
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


def describe(trainer: Trainer, loss: float | None, sdr: float | None, rate: float | None) -> str:
    """The line of a run, at most 80 characters: its place in the budget, loss, validation SDR, speed.

    Args:
        trainer: of the run.
        loss: of the last step.
        sdr: of the last validation, dB.
        rate: segments a second.
    """
    limit, steps = time_limit(trainer), total_steps(trainer)
    epoch, place = f"epoch {trainer.current_epoch + 1} ", f"step {trainer.global_step:,}"
    if limit:
        place += f" {_clock(limit[0])}/{_clock(limit[1])}"
    elif math.isfinite(steps):
        place += f"/{int(steps):,}"
    parts = [place]
    if loss is not None:
        parts.append(f"loss {loss:.3g}")
    if sdr is not None:
        parts.append(f"SDR {sdr:.2f} dB")
    if rate is not None:
        parts.append(f"{rate:.1f} seg/s" if rate < 100 else f"{rate:,.0f} seg/s")
    line = "  ".join(parts)
    return epoch + line if len(epoch + line) <= COLUMNS else line


class Samples(Callback):
    """Log one validation segment, separated, as sound and as a picture of spectrograms.

    Goes to the loggers that take pictures and audio (TensorBoard, W&B).

    Args:
        every_n_epochs: epochs between samples.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.current_epoch % self.every_n_epochs:
            return
        model: Any = pl_module.model
        stems = trainer.datamodule.validation[0]  # type: ignore[attr-defined]
        mixture = stems.sum(dim=0)
        with torch.inference_mode():
            estimates = model(mixture[None].to(pl_module.device))[0].float().cpu().numpy()
        sounds = {"mixture": mixture.numpy(), **dict(zip(model.stems, estimates, strict=True))}
        picture = self._picture(sounds, model.rate, f"epoch {trainer.current_epoch}")
        for logger in trainer.loggers:
            self._log(logger, sounds, picture, model.rate, trainer.global_step)

    @staticmethod
    def _picture(sounds: dict[str, np.ndarray], rate: int, title: str) -> np.ndarray:
        """Pixels (height, width, 3), 0…255."""
        from matplotlib.image import imread

        stems = {name: sound for name, sound in sounds.items() if name != "mixture"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spectrograms.png"
            spectrograms(path, sounds["mixture"], stems, rate, title)
            return (imread(path)[..., :3] * 255).astype(np.uint8)

    @staticmethod
    def _log(logger: Any, sounds: dict[str, np.ndarray], picture: np.ndarray, rate: int, step: int) -> None:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("samples/spectrograms", picture, step, dataformats="HWC")
            for name, sound in sounds.items():
                mono = torch.from_numpy(sound).mean(dim=0).clamp(-1, 1)
                logger.experiment.add_audio(f"samples/{name}", mono, step, sample_rate=rate)
        elif isinstance(logger, WandbLogger):
            import wandb

            audio = {f"samples/{n}": wandb.Audio(s.T.clip(-1, 1), sample_rate=rate) for n, s in sounds.items()}
            logger.experiment.log({"samples/spectrograms": wandb.Image(picture), **audio}, commit=False)


class EarlyStopping(Callback):
    """End a run when `patience` validations in a row brought no better SDR; those without an SDR are not counted.

    `reason` says why it ended the run, if it did.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = -math.inf
        self.waited = 0
        self.reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.sanity_checking or score is None:
            return
        if not math.isfinite(float(score)):
            return
        better = float(score) > self.best
        self.best, self.waited = max(self.best, float(score)), 0 if better else self.waited + 1
        if self.waited >= self.patience:
            self.reason = f"{self.waited} validations in a row brought no better SDR than {self.best:.2f} dB"
            trainer.should_stop = True


class SilentValidation(Callback):
    """Say once that a validation has no SDR, since none of its segments has an audible stem."""

    def __init__(self) -> None:
        self.told = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.sanity_checking or self.told or score is None or math.isfinite(float(score)):
            return
        self.told = True
        log.warning(
            "validation has no SDR, since every stem is silent in all of its segments: best.ckpt and early stopping "
            "wait for one; look at the valid songs, or raise data.validation_per_track"
        )


class AppendingCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a run that goes on in its own folder keeps the rows of what it had done.

    Args:
        folder: metrics.csv lies in its folder csv.
        resume: the checkpoint that has done it; None starts the file anew.
    """

    def __init__(self, folder: Path, resume: Resumable | None) -> None:
        super().__init__(folder, name="", version="csv")
        self.resume = resume

    @property
    def experiment(self) -> Any:
        if self._experiment is None and self.resume is not None:
            path = Path(self.log_dir) / "metrics.csv"
            kept, names = _rows_before(path, self.resume)
            writer: Any = super().experiment  # which deletes the file
            if kept:
                with replacing(path) as temporary, temporary.open("w", newline="") as file:
                    table = csv.DictWriter(file, names)
                    table.writeheader()
                    table.writerows(kept)
                writer.metrics_keys = names
        return super().experiment


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _rows_before(path: Path, resume: Resumable) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of a file of metrics that belong to what a checkpoint has done, and its columns."""
    if not path.is_file():
        return [], []
    text = path.read_text()
    table = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # a run killed while it wrote leaves half a row
    rows = [row for row in table if (row.get("step") or "").isdigit() and int(row["step"]) < resume.step]
    if resume.before_validation:
        rows = [row for row in rows if int(row["step"]) < resume.step - 1 or not row.get(MONITOR)]
    return rows, list(table.fieldnames or ())
