"""Studies: configurations that are trained and scored one after the other, as one table and one picture."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError, RunError, unknown
from tfswa_unet.evaluation.bsseval import METRICS
from tfswa_unet.evaluation.measures import WHOLE
from tfswa_unet.evaluation.report import MODEL
from tfswa_unet.evaluation.results import AVERAGE, read_result
from tfswa_unet.files import replacing, write_text
from tfswa_unet.training.resuming import BEST, LAST
from tfswa_unet.training.trials import (
    OUTPUT,
    locked,
    override_text,
    passed_on,
    reason,
    refuse,
    running,
    stoppable,
    training_command,
)

ASKED = "study="
CELL, SCORES, TABLE, PICTURE = "cell.json", "scores", "table.csv", "table.png"

Rows = dict[str, dict[str, float]]  # row → stem → score


@dataclass(frozen=True)
class StudyConfig:
    """See conf/study.

    Raises:
        ConfigError: no rows, or a name that cannot be a folder's.
    """

    name: str
    metric: str
    parts: dict[str, tuple[str, ...]]  # name → overrides
    rows: dict[str, tuple[str, ...]]
    evaluate: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ConfigError("study.rows is empty: name configurations, each a list of overrides")
        if self.metric not in (*METRICS, *WHOLE):
            raise unknown("study.metric", self.metric, (*METRICS, *WHOLE))
        for name in (*self.rows, *self.parts):
            if Path(name).name != name:
                raise ConfigError(f"study has a row or part {name!r}, expected a name that a folder can have")


@dataclass(frozen=True)
class Cell:
    """One training of a study and its evaluation, in a folder of its own."""

    row: str
    name: str  # of row and part
    overrides: tuple[str, ...]
    folder: Path

    @property
    def scores(self) -> Path:
        return self.folder / SCORES

    @property
    def done(self) -> bool:
        return (self.scores / "scores.json").is_file()


def study(values: Mapping[str, Any], command: Sequence[str], folder: Path) -> float:
    """Train and score what is not scored yet, and lay all scores out as a table and a picture.

    Every training is `command` with the overrides of its row and part, in processes of its own; it goes on where it
    was when the study is started again.

    Args:
        values: the resolved configuration, with `study` as in conf/study.
        command: train.py and its arguments.
        folder: of the study.

    Returns:
        the best row's average.

    Raises:
        ConfigError: for settings that cannot be, or are not those with which a training in `folder` began.
        RunError: where a training or an evaluation fails.
        StoppedError: after SIGINT or SIGTERM; the training under way has ended too.
    """
    config = from_values(StudyConfig, values["study"], "study")
    refuse(values, ASKED)
    cells = list(_cells(config, passed_on(command[1:], "study"), folder))
    console = Console(highlight=False, soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, console) as lock, stoppable():
        for number, cell in enumerate(cells, 1):
            _claim(cell, config)
            if not cell.done:
                console.print(f"{number} of {len(cells)}: {cell.name}")
                _run(training_command(command[0], cell.overrides, cell.folder), cell, lock)
                _run(_scoring_command(Path(command[0]), cell, config), cell, lock)
    rows = _gather(cells, config.metric)
    _tell(rows, config, folder, console)
    return max((scores[AVERAGE] for scores in rows.values()), default=math.nan)


def _cells(config: StudyConfig, words: Sequence[str], folder: Path) -> Iterator[Cell]:
    for row, overrides in config.rows.items():
        for part, more in (config.parts or {"": ()}).items():
            name = f"{row}, {part}" if part else row
            yield Cell(row, name, (*more, *overrides, *words), folder / row / part)


def _claim(cell: Cell, config: StudyConfig) -> None:
    """Keep what a cell is made of, and refuse a folder that holds another."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    file = cell.folder / CELL
    ours = {"train": list(cell.overrides), "evaluate": list(config.evaluate)}
    if not file.exists():
        write_text(file, json.dumps(ours, indent=2) + "\n")
    elif json.loads(file.read_text(encoding="utf-8")) != ours:
        raise ConfigError(
            f"{cell.folder} holds a training by other overrides, those in {CELL}: give this study a folder of its own, "
            "study.name=NAME"
        )


def _scoring_command(program: Path, cell: Cell, config: StudyConfig) -> list[str]:
    checkpoints = cell.folder / "checkpoints"
    checkpoint = checkpoints / (BEST if (checkpoints / BEST).exists() else LAST)
    places = [f"{key}={override_text(str(path))}" for key, path in (("ckpt", checkpoint), ("out", cell.scores))]
    return [sys.executable, str(program.with_name("eval.py")), *config.evaluate, *places]


def _run(command: Sequence[str], cell: Cell, lock: int) -> None:
    output = cell.folder / OUTPUT
    with running(command, output, lock) as process:
        status = process.wait()
    if status:
        raise RunError(f"{cell.name} failed with status {status}: {reason(output)}; all it said is in {output}")


def _gather(cells: Sequence[Cell], metric: str) -> Rows:
    """Scores by row: those of its parts side by side, and their average."""
    rows: Rows = {}
    for cell in cells:
        scores = read_result(cell.scores).methods[MODEL]
        if metric not in scores[AVERAGE]:
            raise ConfigError(f"study.metric is {metric!r}, expected one of {', '.join(scores[AVERAGE])}")
        found = {stem: each[metric] for stem, each in scores.items() if stem != AVERAGE}
        rows.setdefault(cell.row, {}).update({s: math.nan if v is None else v for s, v in found.items()})
    for row in rows.values():
        known = [score for score in row.values() if math.isfinite(score)]
        row[AVERAGE] = sum(known) / len(known) if known else math.nan
    return rows


def _tell(rows: Rows, config: StudyConfig, folder: Path, console: Console) -> None:
    """Print the table, and keep it and the picture in the study's folder."""
    stems = [*dict.fromkeys(stem for row in rows.values() for stem in row if stem != AVERAGE), AVERAGE]
    table = Table(title=f"{config.name}, {config.metric}", box=None)
    table.add_column("")
    for stem in stems:
        table.add_column(stem, justify="right")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *stems])
    for name, row in rows.items():
        scores = [row.get(stem, math.nan) for stem in stems]
        table.add_row(name, *("–" if math.isnan(score) else f"{score:.2f}" for score in scores))
        writer.writerow([name, *("" if math.isnan(score) else score for score in scores)])
    console.print(table)
    write_text(folder / TABLE, text.getvalue())
    _draw(rows, stems, config.metric, folder / PICTURE)
    console.print(f"{folder / TABLE}, {folder / PICTURE}; pages of it: tfswa results {folder}, tfswa runs {folder}")


def _draw(rows: Rows, stems: Sequence[str], metric: str, path: Path) -> None:
    """A group of bars a row, a bar a stem."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 1.2 * len(rows) + 1), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(stems)
    for number, stem in enumerate(stems):
        places = [place + (number - (len(stems) - 1) / 2) * width for place in range(len(rows))]
        axes.bar(places, [row.get(stem, math.nan) for row in rows.values()], width, label=stem)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylabel(metric)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
