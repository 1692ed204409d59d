"""From an evaluation's configuration to its scores: the model, the tracks, the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tfswa_unet.bundle import load_model
from tfswa_unet.data import StemPlan, load_data
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.report import Scores
from tfswa_unet.evaluation.run import evaluate
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.inference import Separator
from tfswa_unet.memory import keep_pages
from tfswa_unet.records import from_values
from tfswa_unet.types import SPLITS


@dataclass(frozen=True)
class EvalConfig:
    """See conf/eval.yaml."""

    ckpt: str
    data: dict[str, Any]
    split: str
    out: str | None
    metrics: Any
    max_tracks: int | None
    max_seconds: float | None
    workers: int | None
    pictures: int
    device: str
    precision: Any
    segment: float
    overlap: float
    batch: int | None
    paths: dict[str, Any]

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split={self.split}: expected one of {', '.join(SPLITS)}")
        if self.max_tracks is not None and self.max_tracks < 1:
            raise ConfigError(f"max_tracks={self.max_tracks}: expected 1 or more, or null for all")


def score_checkpoint(values: Mapping[str, Any]) -> Scores:
    """Score a checkpoint or bundle as configured; print the table and where the files lie.

    Raises:
        UserError: for a checkpoint, data set or setting that cannot be used, before any track is separated.
    """
    keep_pages()
    config = from_values(EvalConfig, values, "config")
    model = load_model(config.ckpt)
    tracks = load_data(config.data, config.split)[: config.max_tracks]  # type: ignore[arg-type]
    plan = StemPlan.from_config(model.config["stems"])
    separator = Separator(
        model, config.device, config.segment, config.overlap, batch=config.batch, precision=config.precision
    )
    checkpoint = Path(config.ckpt)
    settings = EvaluationSettings(
        model=model.config["name"],
        checkpoint=checkpoint,
        data_root=Path(config.data["root"]),
        overlap=config.overlap / config.segment,
        segment_seconds=config.segment,
        precision=separator.precision,
        metrics=config.metrics,
        max_seconds=config.max_seconds,
        workers=config.workers,
        pictures=config.pictures,
    )
    out = Path(config.out) if config.out else checkpoint.parent / f"scores-{checkpoint.stem}-{config.split}"
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with bar:
        task = bar.add_task("scoring", total=None)
        scores = evaluate(
            separator.separate,
            tracks,
            plan,
            out,
            settings=settings,
            on_progress=lambda done, total, name: bar.update(task, completed=done, total=total, description=name),
        )
    Console().print(scores.table())
    Console().print(f"scores: {out / 'scores.json'}", soft_wrap=True)
    return scores
