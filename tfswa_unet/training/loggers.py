"""Where a run's numbers go."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from tfswa_unet.files import replacing
from tfswa_unet.training.config import LoggerConfig


def make_loggers(config: LoggerConfig, folder: Path, resumed_step: int | None) -> list[Logger]:
    """The loggers of a run in `folder`.

    Args:
        config: which ones.
        folder: csv/metrics.csv and tensorboard/ lie below it.
        resumed_step: optimizer steps that the checkpoint has done from which the run goes on, or None.
    """
    loggers: list[Logger] = []
    if config.csv:
        loggers.append(AppendingCSVLogger(folder, resumed_step))
    if config.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    if config.wandb:
        loggers.append(WandbLogger(save_dir=folder, **asdict(config.wandb)))
    return loggers


class AppendingCSVLogger(CSVLogger):
    """Lightning's CSV logger, but a run that goes on in its own folder keeps the rows of the steps it had done.

    Args:
        folder: metrics.csv lies in its folder csv.
        resumed_step: steps done; None starts the file anew.
    """

    def __init__(self, folder: Path, resumed_step: int | None) -> None:
        super().__init__(folder, name="", version="csv")
        self.resumed_step = resumed_step

    @property
    def experiment(self) -> Any:
        if self._experiment is None and self.resumed_step is not None:
            path = Path(self.log_dir) / "metrics.csv"
            kept, names = _rows_before(path, self.resumed_step)
            writer: Any = super().experiment  # which deletes the file
            if kept:
                with replacing(path) as temporary, temporary.open("w", newline="") as file:
                    table = csv.DictWriter(file, names)
                    table.writeheader()
                    table.writerows(kept)
                writer.metrics_keys = names
        return super().experiment


def _rows_before(path: Path, step: int) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of a file of metrics that belong to steps done, and its columns."""
    if not path.is_file():
        return [], []
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        rows = [row for row in table if row.get("step", "").isdigit() and int(row["step"]) < step]
    return rows, list(table.fieldnames or ())
