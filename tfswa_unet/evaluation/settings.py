"""What is scored and how: of a call of `evaluate`, and of the configuration that eval.py takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.evaluation.equaliser import EQUALISER, Equaliser
from tfswa_unet.evaluation.references import REFERENCES
from tfswa_unet.types import MIXTURE, Split

Metrics = Literal["full", "sdr"]
Evaluator = Literal["torch", "museval"]


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured, on how much of each track, and how the estimates were made.

    `metrics="full"` scores SDR, ISR, SIR and SAR, in seconds a track, or with `evaluator="museval"` by that package in
    minutes; `"sdr"` gives the same SDR exactly in less time and leaves the other three out. museval scores in `workers`
    processes, None is one a core.

    Raises:
        ConfigError: a name is unknown, a number is out of range, or museval is to give the SDR alone.
    """

    model: str
    checkpoint: Path | None = None  # without one the model's scores are never taken from an earlier run
    data_root: Path | None = None
    overlap: float | None = None  # share of a segment
    segment_seconds: float | None = None
    precision: str | None = None
    wiener: bool | None = None  # stems passed through `dsp.wiener_filter`
    metrics: Metrics = "full"
    evaluator: Evaluator = "torch"  # of full metrics
    device: str = "cpu"  # of the torch evaluator and the other measures: cpu, or cuda, as float64 is needed
    window_seconds: float = 1.0
    hop_seconds: float = 1.0
    max_seconds: float | None = None  # score only the beginning of each track
    max_tracks: int | None = None  # score only the first so many
    references: tuple[str, ...] = (MIXTURE, "irm")
    equaliser: Equaliser | None = None  # fitted on other songs and scored beside the references
    workers: int | None = None
    pictures: int = 1  # spectrograms of the first so many tracks
    report: bool = True  # report.html; it separates the tracks with the worst passages once more
    parameters: int | None = None  # of the model, for the record

    def __post_init__(self) -> None:
        if self.metrics not in get_args(Metrics):
            raise unknown("metrics", self.metrics, get_args(Metrics))
        if self.evaluator not in get_args(Evaluator):
            raise unknown("evaluator", self.evaluator, get_args(Evaluator))
        if self.device.partition(":")[0] not in ("cpu", "cuda"):
            raise ConfigError(f"device is {self.device!r}, expected cpu or cuda, where there is float64")
        if self.evaluator == "museval" and self.metrics != "full":
            raise ConfigError(f"evaluator=museval has no part in metrics={self.metrics}: leave one of them out")
        for name in self.references:
            REFERENCES[name]  # refuses an unknown one
        if not self.model or self.model in (*REFERENCES, EQUALISER):
            taken = ", ".join((*REFERENCES, EQUALISER))
            raise ConfigError(f"model is {self.model!r}, expected a name other than {taken}")
        for name in ("window_seconds", "hop_seconds", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}, expected more than 0 seconds")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}, expected 1 or more, or none for one a core")
        if self.checkpoint is not None and not self.checkpoint.exists():
            raise ConfigError(f"checkpoint {self.checkpoint} does not exist: give the path of a checkpoint or bundle")

    @property
    def compared(self) -> tuple[str, ...]:
        """Methods that are scored beside the model."""
        names = tuple(dict.fromkeys(self.references))
        return names if self.equaliser is None else (*names, EQUALISER)


@dataclass(frozen=True)
class EvaluationConfig:
    """The configuration of eval.py; conf/eval.yaml says what each key means.

    Raises:
        ConfigError: a number is out of range.
    """

    ckpt: str | None
    estimates: str | None
    data: dict[str, Any]
    split: Split
    references: tuple[str, ...]
    equaliser: str | None
    out: str | None
    metrics: Metrics
    segments: float | None  # s
    evaluator: Evaluator
    max_tracks: int | None
    max_seconds: float | None
    workers: int | None
    pictures: int
    report: bool
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    segment: float | None  # s
    overlap: float | None  # s
    batch: int | None
    wiener: bool
    paths: dict[str, str]

    def __post_init__(self) -> None:
        if (self.ckpt is None) == (self.estimates is None):
            raise ConfigError(
                "give what is to be scored, ckpt=MODEL, or estimates=FOLDER for stems that are there already, not both"
            )
        if self.segments is not None and not self.segments > 0:
            raise ConfigError(f"segments={self.segments:g}: expected more than 0 seconds, or null for windows of 1 s")
        if self.max_tracks is not None and self.max_tracks < 1:
            raise ConfigError(f"max_tracks={self.max_tracks}: expected 1 or more, or null for all")
