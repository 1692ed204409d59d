"""What runs left in their folders: configurations, scores and curves, to be compared."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tfswa_unet.errors import ConfigError
from tfswa_unet.pages import page, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIG, METRICS = "config.yaml", Path("csv") / "metrics.csv"
SCORE, LOSS, STEM = "val/sdr", "train/loss", "val/sdr_"
# Where things lie, and how a run came about, tells nothing of what it learned.
PLACES = ("paths.", "resume", "logger.", "callbacks.progress_bar", "data.cache")
POINTS = 400  # of a curve in a picture

Curve = list[tuple[int, float]]  # (step, value)


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it; what it has not come to yet is None or empty."""

    name: str  # of its folder, below the one that was searched
    model: str
    started: str | None  # UTC
    steps: int
    best_sdr: float | None  # dB, of the validations
    best_step: int | None
    stems: Mapping[str, float]  # dB at that step
    settings: Mapping[str, Any]  # the configuration, keys joined by dots
    curves: Mapping[str, Curve] = field(repr=False)  # by metric


def list_runs(root: Path) -> list[RunRecord]:
    """The runs whose folders lie in `root` or below, the best first, then those without a score.

    Raises:
        ConfigError: no such folder, no run in it, or a configuration or table of metrics that cannot be read.
    """
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder: give one that holds runs, as train.py makes them")
    found = [_read(root, path.parent) for path in sorted(root.rglob(CONFIG)) if (path.parent / METRICS).is_file()]
    if not found:
        raise ConfigError(f"{root} holds no runs, which are folders with {CONFIG} and {METRICS}")
    return sorted(found, key=lambda run: (run.best_sdr is None, -(run.best_sdr or 0.0), run.name))


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """Keys of the configuration that do not have one value in all runs, without those that say where things lie."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key for key in keys if not key.startswith(PLACES) and len({str(run.settings.get(key, "")) for run in runs}) > 1
    ]


def unusual(runs: Sequence[RunRecord]) -> list[list[str]]:
    """The settings of each run, as key=value, that are not those of most runs, or of the first of equally many."""
    told: list[list[str]] = [[] for _ in runs]
    for key in differing(runs):
        values = [str(run.settings.get(key, "")) for run in runs]
        usual = Counter(values).most_common(1)[0][0]
        for of_run, value in zip(told, values, strict=True):
            if value != usual:
                of_run.append(f"{key}={value}")
    return told


def runs_page(root: Path, runs: Sequence[RunRecord]) -> str:
    """One HTML page of runs with their differences and curves, which needs no network."""
    stems = list(dict.fromkeys(stem for run in runs for stem in run.stems))
    pictures = [
        (caption, picture(_curves(runs, metric, label)))
        for caption, metric, label in (
            ("Validation SDR by step", SCORE, "SDR (dB)"),
            ("Training loss by step", LOSS, "loss"),
        )
        if any(run.curves.get(metric) for run in runs)
    ]
    shown = {"runs": runs, "stems": stems, "differing": differing(runs), "pictures": pictures}
    return page("runs.html", title=f"Runs in {root.name or root}", root=str(root), **shown)


def _read(root: Path, folder: Path) -> RunRecord:
    try:
        with (folder / CONFIG).open(encoding="utf-8") as file:
            config = yaml.safe_load(file)
        settings = dict(_flat(config))
        curves = read_curves(folder)
        started = datetime.fromtimestamp((folder / CONFIG).stat().st_mtime, timezone.utc)
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"the run in {folder} cannot be read ({told}): mend or remove it") from None
    scored = [point for point in curves.get(SCORE, []) if math.isfinite(point[1])]
    best_step, best = max(scored, key=lambda point: point[1]) if scored else (None, None)
    stems = {name.removeprefix(STEM): dict(curve) for name, curve in curves.items() if name.startswith(STEM)}
    return RunRecord(
        name=folder.relative_to(root).as_posix() if folder != root else folder.resolve().name,
        model=str(settings.get("model.name", "")),
        started=started.strftime("%Y-%m-%d %H:%M"),
        steps=max((step + 1 for curve in curves.values() for step, _ in curve), default=0),
        best_sdr=best,
        best_step=None if best_step is None else best_step + 1,
        stems={stem: curve[best_step] for stem, curve in stems.items() if best_step in curve},
        settings=settings,
        curves=curves,
    )


def read_curves(folder: Path) -> dict[str, Curve]:
    """Curves of the run in a folder by metric; a row that is broken off, or yet to be written out, is left out.

    Raises:
        OSError: where there is no table of metrics.
        ValueError: for one that holds something else than numbers.
    """
    text = (folder / METRICS).read_text(encoding="utf-8")
    curves: dict[str, Curve] = {}
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):  # rows hold some of the metrics each
        if not (row.get("step") or "").isdigit():
            continue
        for name, value in row.items():
            if value and name not in ("step", "epoch"):
                curves.setdefault(name, []).append((int(row["step"]), float(value)))
    return curves


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _curves(runs: Sequence[RunRecord], metric: str, label: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        if curve := _thinned(run.curves.get(metric, [])):
            axes.plot([step for step, _ in curve], [value for _, value in curve], label=run.name, linewidth=1.5)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _thinned(curve: Curve) -> Curve:
    """Means of neighbouring points, so that no curve has more than `POINTS`."""
    size = -(-len(curve) // POINTS)
    parts = [curve[first : first + size] for first in range(0, len(curve), size or 1)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
