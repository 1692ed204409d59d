"""From windows to one number a stem: medians over windows, then over tracks, with what was left out counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfswa_unet.evaluation.track_scores import METRICS, TrackScores

if TYPE_CHECKING:
    from rich.table import Table

MODEL = "model"
MIXTURE = "mixture"
Values = Mapping[str, float]  # metric → dB


@dataclass(frozen=True)
class StemScores:
    """One stem by one method over all tracks; NaN where no track has a score."""

    values: Values
    frames: int  # windows of all tracks
    nan_frames: int  # of these without an SDR: silent, or perfect, which museval drops too
    silent_tracks: tuple[str, ...]  # tracks left out because reference or estimate is silent throughout


@dataclass(frozen=True)
class MethodScores:
    """One method over all tracks: a number a stem, their mean, and each track's own medians."""

    stems: Mapping[str, StemScores]
    average: Values
    tracks: Mapping[str, Mapping[str, Values]]  # track → stem → metric → dB


@dataclass(frozen=True)
class Scores:
    """What an evaluation found: each method's scores and the record that makes them repeatable."""

    methods: Mapping[str, MethodScores]
    record: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: NaN as null."""
        return {
            **self.record,
            "scores": {name: _summary(method) for name, method in self.methods.items()},
            "nan": {name: _counts(method) for name, method in self.methods.items()},
            "per_track": {
                name: {track: {stem: _plain(v) for stem, v in stems.items()} for track, stems in method.tracks.items()}
                for name, method in self.methods.items()
            },
        }

    def table(self) -> Table:
        """A table of every stem's scores in dB by each method, with the gain in SDR over the mixture."""
        return table(self)


def aggregate(tracks: Sequence[TrackScores]) -> MethodScores:
    """Summarise a method's tracks as museval does: the median over a track's windows, then the median over tracks.

    NaN and infinite windows are left out. uSDR, a number a track, is averaged over tracks as in the demixing
    challenges. `average` is the mean over stems.
    """
    by_track = {
        scores.track: {
            stem: {metric: _median(values) for metric, values in metrics.items()} | {"uSDR": scores.usdr[stem]}
            for stem, metrics in scores.frames.items()
        }
        for scores in tracks
    }
    stems = {stem: _stem(stem, tracks, by_track) for stem in tracks[0].frames}
    metrics = next(iter(stems.values())).values
    average = {metric: _mean([stem.values[metric] for stem in stems.values()]) for metric in metrics}
    return MethodScores(stems, average, by_track)


def table(scores: Scores) -> Table:
    """A table of every stem's scores in dB by each method, with the gain in SDR over the mixture."""
    from rich.table import Table

    metrics = [*(m for m in METRICS if m in scores.methods[MODEL].average), "uSDR"]
    view = Table(title=f"{scores.record['model']} on {scores.record['data'] or 'tracks'}, {scores.record['split']}")
    for heading in ("stem", "estimate"):
        view.add_column(heading)
    for heading in (*metrics, "SDR gain", "NaN frames"):
        view.add_column(heading, justify="right")
    for stem in [*scores.methods[MODEL].stems, "average"]:
        for name, method in scores.methods.items():
            values = _row(method, stem)
            cells = [f"{values[metric]:.2f}" for metric in metrics]
            gain = values["SDR"] - _row(scores.methods[MIXTURE], stem)["SDR"] if MIXTURE in scores.methods else np.nan
            counted = method.stems.values() if stem == "average" else [method.stems[stem]]
            nan = f"{sum(s.nan_frames for s in counted)}/{sum(s.frames for s in counted)}"
            label = scores.record["model"] if name == MODEL else name
            style = "bold" if name == MODEL else "dim"
            view.add_row(stem if name == MODEL else "", label, *cells, f"{gain:+.2f}", nan, style=style)
        view.add_section()
    return view


def _stem(stem: str, tracks: Sequence[TrackScores], by_track: Mapping[str, Mapping[str, Values]]) -> StemScores:
    rows = [track[stem] for track in by_track.values()]
    sdr = [track.frames[stem]["SDR"] for track in tracks]
    return StemScores(
        values={
            metric: _mean([row[metric] for row in rows]) if metric == "uSDR" else _median([row[metric] for row in rows])
            for metric in rows[0]
        },
        frames=sum(len(values) for values in sdr),
        nan_frames=sum(int((~np.isfinite(values)).sum()) for values in sdr),
        silent_tracks=tuple(track.track for track in tracks if stem in track.left_out),
    )


def _row(method: MethodScores, stem: str) -> Values:
    return method.average if stem == "average" else method.stems[stem].values


def _median(values: Any) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _mean(values: Any) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(np.mean(finite)) if finite.size else float("nan")


def _summary(method: MethodScores) -> dict[str, Any]:
    return {stem: _plain(scores.values) for stem, scores in method.stems.items()} | {"average": _plain(method.average)}


def _counts(method: MethodScores) -> dict[str, Any]:
    return {
        stem: {"frames": s.frames, "nan_frames": s.nan_frames, "silent_tracks": list(s.silent_tracks)}
        for stem, s in method.stems.items()
    }


def _plain(values: Values) -> dict[str, float | None]:
    return {metric: value if np.isfinite(value) else None for metric, value in values.items()}
