"""Scores on a terminal of 80 columns: tables when all is done, and running medians while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tfswa_unet.evaluation.bsseval import TrackScores
from tfswa_unet.evaluation.measures import LOWER_IS_BETTER
from tfswa_unet.evaluation.report import MODEL, MethodScores, Scores, aggregate
from tfswa_unet.evaluation.scorer import Scored
from tfswa_unet.types import MIXTURE


def tables(scores: Scores) -> Iterator[RenderableType]:
    """One row a stem: every measure of the model; then the SDR of the reference methods, and frames without a score."""
    record, model = scores.record, scores.methods[MODEL]
    segments = record["metric"]["window_seconds"]
    how = "" if segments == 1 else f" (SDR to SAR of segments of {segments:g} s)"
    yield measures(model, f"{record['model']} on {record['data'] or 'tracks'}, {record['split']}: dB{how}")
    view = _table()
    others = {name: method for name, method in scores.methods.items() if name != MODEL}
    for heading in ("SDR", *(["gain"] if MIXTURE in others else []), *others, "no score"):
        view.add_column(heading, justify="right", min_width=6)
    for stem, values in model.rows.items():
        sdr = {name: method.rows[stem]["SDR"] for name, method in others.items()}
        gain = [f"{values['SDR'] - sdr[MIXTURE]:+.2f}"] if MIXTURE in sdr else []
        counted = model.stems.values() if stem == "average" else [model.stems[stem]]
        nan = f"{sum(s.nan_frames for s in counted)}/{sum(s.frames for s in counted)}"
        _add(view, stem, _number(values["SDR"]), *gain, *map(_number, sdr.values()), nan)
    yield Text("SDR of reference methods, dB" if others else "SDR, dB", style="italic")
    yield view
    told = "gain: over the mixture; " if MIXTURE in others else ""
    yield Text(f"{told}no score: frames with a silent stem, or perfect\n", style="dim")


def measures(method: MethodScores, title: str) -> RenderableType:
    """A method's measures as columns, stems and their average as rows; the null error below."""
    view = _table()
    for heading in method.average:
        view.add_column(f"{heading}↓" if heading in LOWER_IS_BETTER else heading, justify="right", min_width=6)
    for stem, values in method.rows.items():
        _add(view, stem, *map(_number, values.values()))
    nulls = [value for value in method.null_errors.values() if value is not None]
    told = [f"null error of the sum {np.median(nulls):.1f} dB (median over tracks)"] if nulls else []
    if LOWER_IS_BETTER & set(method.average):
        told.insert(0, "↓ lower is better")
    return Group(Text(title, style="italic"), view, Text("; ".join(told) + "\n", style="dim"))


class LiveScores:
    """Running medians while tracks are scored: a table that is renewed on a terminal, elsewhere a line a track.

    Args:
        model: its name, for the heading.
        methods: number of methods that each track is scored by.
        console: where it is shown; standard error unless given.
    """

    def __init__(self, model: str, methods: int, console: Console | None = None) -> None:
        self.model, self.methods = model, methods
        self.console = console or Console(stderr=True)
        self.tracks: list[TrackScores] = []
        self.began = time.monotonic()
        columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
        self.bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=self.console)
        self.task = self.bar.add_task("track", total=None, left="")
        self.live = Live(self.bar, console=self.console, transient=True) if self.console.is_terminal else None

    def __enter__(self) -> LiveScores:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def show(self, scored: Scored) -> None:
        """Take in what was scored; reference methods count for the time that is left only."""
        left = _time_left(time.monotonic() - self.began, scored)
        if scored.method == MODEL:
            self.tracks.append(scored.scores)
        number, of = len(self.tracks), scored.total // self.methods
        self.bar.update(self.task, completed=number, total=of, left=left)
        if not self.tracks:
            return
        so_far = aggregate(self.tracks)
        if self.live:
            self.live.update(Group(measures(so_far, f"{self.model}, so far: dB"), self.bar))
        elif scored.method == MODEL:
            sdr = ", ".join(f"{stem} {_number(values['SDR'])}" for stem, values in so_far.rows.items())
            told = f"track {number} of {of}, {scored.scores.track}: SDR so far {sdr}"
            self.console.print(told + (f"; {left}" if left else ""), soft_wrap=True, highlight=False, markup=False)


def _time_left(seconds: float, scored: Scored) -> str:
    """How long the rest takes at the pace of what was not taken from an earlier run."""
    new, rest = scored.done - scored.recalled, scored.total - scored.done
    if not new or not rest:
        return ""
    left = seconds / new * rest
    return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"


def _table() -> Table:
    view = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    view.add_column("stem", no_wrap=True)
    return view


def _add(view: Table, stem: str, *cells: str) -> None:
    if stem == "average":
        view.add_section()
    view.add_row(stem, *cells, style="bold" if stem == "average" else None)


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"
