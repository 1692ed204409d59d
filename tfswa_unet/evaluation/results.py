"""Evaluations as their `scores.json` tells them: read, found below a folder, and laid out as one page of results."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.measures import LOWER_IS_BETTER
from tfswa_unet.evaluation.report import MODEL
from tfswa_unet.pages import page

FILE, SPEED = "scores.json", "speed.json"
AVERAGE = "average"  # of the stems
PUBLISHED = "published.csv"

Rows = Mapping[str, Mapping[str, float | None]]  # stem → metric → score


@dataclass(frozen=True)
class Result:
    """One evaluation: of a model, and of the references that were scored beside it."""

    name: str  # of its folder, below the one that was searched
    record: Mapping[str, Any] = field(repr=False)  # the content of scores.json
    real_time_factor: float | None = None  # of separation, on the machine that scored

    @property
    def model(self) -> str:
        return str(self.record["model"])

    @property
    def methods(self) -> Mapping[str, Rows]:
        """Scores over all tracks by method: `MODEL` and the references."""
        return self.record["scores"]

    @property
    def tracks(self) -> Mapping[str, Rows]:
        """The model's scores of each track."""
        return self.record["per_track"][MODEL]

    @property
    def data(self) -> str:
        """What was scored, in words: data set, split and, where it is not all of them, how much of the tracks."""
        words = [str(self.record["data"] or "tracks"), str(self.record["split"])]
        if self.record.get("max_seconds"):
            words.append(f"first {self.record['max_seconds']:g} s")
        return ", ".join([*words, f"{len(self.record['tracks'])} tracks"])


@dataclass(frozen=True)
class Row:
    """A line of the page of results: one method's scores on one data set."""

    name: str
    kind: str  # model, reference or published
    data: str
    folder: str | None
    scores: Mapping[str, Mapping[str, float]]  # metric → stem, or `AVERAGE` → score
    parameters: float | None = None
    real_time_factor: float | None = None  # of separation, on the machine that scored

    def of(self, stem: str) -> dict[str, float]:
        """Its scores of a stem by metric."""
        return {metric: scores[stem] for metric, scores in self.scores.items() if stem in scores}


def read_result(path: Path, root: Path | None = None) -> Result:
    """Read an evaluation.

    Args:
        path: the folder that eval.py wrote, or its scores.json.
        root: folder below which it is named; its own name where None.

    Raises:
        ConfigError: it cannot be read, or is no record of scores.
    """
    file = path / FILE if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        for name in ("model", "split", "data", "metric", "tracks"):
            record[name]
        record["scores"][MODEL][AVERAGE], record["per_track"][MODEL]
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): give the folder of an evaluation") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} holds no scores ({error}): give the folder of an evaluation") from None
    folder = file.parent
    name = folder.resolve().name if root in (None, folder) else folder.relative_to(root).as_posix()
    return Result(name, record, _speed(folder / SPEED))


def _speed(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["real_time_factor"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_results(root: Path) -> list[Result]:
    """The evaluations whose folders lie in `root` or below, by name.

    Raises:
        ConfigError: no such folder, no evaluation in it, or one that cannot be read.
    """
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder: give one that holds evaluations, as eval.py makes them")
    found = [read_result(path, root) for path in sorted(root.rglob(FILE))]
    if not found:
        raise ConfigError(f"{root} holds no evaluations, which are folders with a {FILE}")
    return found


def results_page(root: Path, results: Sequence[Result], published: bool = True) -> str:
    """One HTML page that needs no network: a table of all results, and a picture of what quality costs.

    Args:
        root: folder that was searched.
        results: evaluations.
        published: add the scores that others have published of their own models on MUSDB18's test songs.
    """
    rows = [*_rows(results), *(_published() if published else [])]
    stems = list(dict.fromkeys(stem for row in rows for each in row.scores.values() for stem in each))
    stems.sort(key=lambda stem: stem == AVERAGE)
    return page(
        "results.html",
        title=f"Results in {root.name or root}",
        rows=rows,
        stems=stems,
        metrics=list(dict.fromkeys(metric for row in rows for metric in row.scores)),
        lower_is_better=LOWER_IS_BETTER,
        sets=list(dict.fromkeys(row.data for row in rows)),
    )


def _rows(results: Sequence[Result]) -> Iterator[Row]:
    """A row each model, and one each reference and data set."""
    known = set()
    for result in results:
        for method, scores in result.methods.items():
            kind = "model" if method == MODEL else "reference"
            if kind == "reference" and (method, result.data) in known:
                continue
            known.add((method, result.data))
            if kind == "model":
                cost = (result.record.get("parameters"), result.real_time_factor)
                yield Row(result.model, kind, result.data, result.name, _by_metric(scores), *cost)
            else:
                yield Row(method, kind, result.data, None, _by_metric(scores))


def _by_metric(rows: Rows) -> dict[str, dict[str, float]]:
    turned: dict[str, dict[str, float]] = {}
    for stem, scores in rows.items():
        for metric, score in scores.items():
            if score is not None and math.isfinite(score):
                turned.setdefault(metric, {})[stem] = score
    return turned


def _published() -> Iterator[Row]:
    """What others report of their own models, in the metric in which they do."""
    text = resources.files(__package__).joinpath(PUBLISHED).read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        scores = {stem: float(row[stem]) for stem in ("vocals", "drums", "bass", "other", AVERAGE) if row[stem]}
        millions = float(row["parameters"]) * 1e6 if row["parameters"] else None
        data = "MUSDB18 test, as published" + (", trained on more" if row["extra_data"] else "")
        yield Row(row["model"], "published", data, None, {row["metric"]: scores}, millions)
