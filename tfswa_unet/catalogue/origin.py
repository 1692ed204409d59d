"""Where a model's weights come from, as far as the facts of its bundle say.

Bundles of every age are read: what one does not record is None or empty here, and never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
SDR = "SDR"
MODEL = "model"  # the method that is the model itself, beside references such as the mixture
AVERAGE = "average"  # the row below all stems


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model and of reference methods on one data set."""

    scores: Mapping[str, Mapping[str, float | None]]  # method → stem → SDR in dB
    metric: str
    data: str | None  # name of the data set and its split
    tracks: int | None

    @classmethod
    def from_facts(cls, values: Any) -> Evaluation | None:
        """What `evaluation.report.summary` put into a bundle; None where it holds no scores."""
        facts = _mapping(values)
        scores = {
            str(method): {str(stem): _sdr(value) for stem, value in _mapping(stems).items()}
            for method, stems in _mapping(facts.get("scores")).items()
        }
        if not any(scores.values()):
            return None
        metric, tracks = facts.get("metric"), facts.get("tracks")
        told = (
            [_mapping(metric).get(name) for name in ("name", "aggregation")] if isinstance(metric, dict) else [metric]
        )
        data = [str(facts[name]) for name in ("data", "split") if facts.get(name)]
        return cls(
            scores=scores,
            metric=", ".join([SDR, *(str(part) for part in told if part)]),
            data=", ".join(data) or None,
            tracks=len(tracks) if isinstance(tracks, list) else tracks if isinstance(tracks, int) else None,
        )

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of all rows, the average last."""
        names = dict.fromkeys(stem for stems in self.scores.values() for stem in stems)
        return tuple(sorted(names, key=lambda name: name == AVERAGE))

    @property
    def of_stems(self) -> dict[str, float]:
        """The model's own SDR of each stem that has one, in dB."""
        scores = self.scores.get(MODEL, {})
        return {stem: value for stem, value in scores.items() if value is not None and stem != AVERAGE}


@dataclass(frozen=True)
class Origin:
    """How a model was made: its training, the data it has heard, its scores."""

    epoch: int | None
    step: int | None
    averaged: bool  # weights are a running average over training
    averaged_with: int  # models whose weights were averaged with its own
    temperature: float | None  # that the logits of its masks were divided by after training
    validation: Mapping[str, float]  # by the name under which training logs it
    pieces: tuple[Row, ...]  # stretches of training, one after the other
    recipe: Mapping[str, Any]
    sources: tuple[Row, ...]  # what it was trained on
    evaluation: Evaluation | None

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Origin:
        """What `bundle.read_facts` gives, read tolerantly."""
        training = _mapping(facts.get("training"))
        scores = {str(name): _number(value) for name, value in _mapping(training.get("scores")).items()}
        return cls(
            epoch=_whole(training.get("epoch")),
            step=_whole(training.get("step")),
            averaged=training.get("averaged") is True,
            averaged_with=len(_rows(training.get("averaged_with"), "checkpoint")),
            temperature=_number(training.get("temperature")),
            validation={name: value for name, value in scores.items() if value is not None},
            pieces=_rows(training.get("pieces"), "piece"),
            recipe=_mapping(training.get("recipe")),
            sources=_rows(training.get("sources"), "source"),
            evaluation=Evaluation.from_facts(facts.get("evaluation") or training.get("evaluation")),
        )

    @property
    def validation_sdr(self) -> float | None:
        """SDR in validation during training, in dB."""
        return next((value for name, value in self.validation.items() if "sdr" in name.lower()), None)

    @property
    def licences(self) -> dict[str, int]:
        """How many of the sources are under each licence, in the order of the sources."""
        counts: dict[str, int] = {}
        for source in self.sources:
            if licence := source.get("licence"):
                counts[str(licence)] = counts.get(str(licence), 0) + 1
        return counts


def total(rows: tuple[Row, ...], key: str) -> tuple[float, int]:
    """Sum of a number over rows, and how many of them have it."""
    values = [value for row in rows if (value := _number(row.get(key))) is not None]
    return sum(values), len(values)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: Any, name: str) -> tuple[Row, ...]:
    """A list of mappings; what else stands in it is a mapping of one entry, so that no attribution is lost."""
    entries = value if isinstance(value, list) else []
    return tuple(entry if isinstance(entry, Mapping) else {name: entry} for entry in entries)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sdr(value: Any) -> float | None:
    return _number(value.get(SDR) if isinstance(value, Mapping) else value)
