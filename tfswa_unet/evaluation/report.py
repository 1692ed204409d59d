"""What an evaluation reports: how its scores came about, their summary, and the files of them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tfswa_unet
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.bsseval import TrackScores
from tfswa_unet.evaluation.measures import NULL_ERROR, WHOLE
from tfswa_unet.evaluation.references import ALPHA, HOP, N_FFT
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.tracks import ScoredTrack
from tfswa_unet.files import content_hash

COMPUTED = {
    "torch": "SDR, ISR, SIR, SAR in torch by museval's definition",
    "museval": "SDR, ISR, SIR, SAR by museval",
}
ORACLES = {
    "irm": f"ideal ratio mask |S|^{ALPHA:g}",
    "ibm": "ideal binary mask |S| > |X - S|",
    "mwf": "multichannel Wiener filter of true powers and spatial covariances",
}
MODEL = "model"  # the row of the model, beside those of reference methods
PACKAGE = Path(tfswa_unet.__file__).resolve().parent

Values = Mapping[str, float]  # metric → dB


def commit() -> str | None:
    """The commit that this package stands at, with "+dirty" where tracked files differ; None outside git."""
    # A package installed inside somebody else's repository is not tracked there: that commit says nothing of ours.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git("rev-parse", "HEAD")
    return f"{head}+dirty" if head and _git("status", "--porcelain", "--untracked-files=no") else head


@cache
def source_hash() -> str:
    """SHA-256 of this package's Python files: changed code never takes over scores of older code."""
    return content_hash(PACKAGE, "*.py")


def versions() -> dict[str, str | None]:
    """Installed versions of what a score depends on; None for what is not installed."""
    return {name: _version(name) for name in ("tfswa-unet", "torch", "numpy", "museval")}


def describe(settings: EvaluationSettings, songs: Sequence[ScoredTrack], checkpoint_hash: str | None) -> dict[str, Any]:
    """Plain values, ready for JSON, that say how scores came about."""
    checkpoint = {"name": settings.checkpoint.name, "sha256": checkpoint_hash} if settings.checkpoint else None
    return {
        "model": settings.model,
        "parameters": settings.parameters,
        "checkpoint": checkpoint,
        "metric": _metric(settings),
        "data": settings.data_root.resolve().name if settings.data_root else None,
        "split": "+".join(sorted({song.track.split for song in songs})),
        "tracks": [song.name for song in songs],
        "max_seconds": settings.max_seconds,
        "stems": {stem: list(sources) for stem, sources in songs[0].plan.items()},
        "equaliser": settings.equaliser.record() if settings.equaliser else None,
        "overlap": settings.overlap,
        "segment_seconds": settings.segment_seconds,
        "shifts": 1,  # eval.py separates a track once
        "precision": settings.precision,
        "wiener": settings.wiener,
        "commit": commit(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


@dataclass(frozen=True)
class StemScores:
    """One stem by one method over all tracks; NaN where no track has a score."""

    values: Values
    frames: int  # windows of all tracks
    nan_frames: int  # of these without an SDR: silent, or perfect, which museval drops too
    silent_tracks: tuple[str, ...]  # tracks left out because reference or estimate is silent throughout

    def counts(self) -> dict[str, Any]:
        """The numbers of windows and the silent tracks as plain values."""
        return {"frames": self.frames, "nan_frames": self.nan_frames, "silent_tracks": list(self.silent_tracks)}


@dataclass(frozen=True)
class MethodScores:
    """One method over all tracks: a number a stem, their mean, and each track's own medians."""

    stems: Mapping[str, StemScores]
    average: Values
    tracks: Mapping[str, Mapping[str, Values]]  # track → stem → metric → dB
    null_errors: Mapping[str, float | None]  # track → dB

    @property
    def rows(self) -> dict[str, Values]:
        """Scores of every stem, and the average below them."""
        return {stem: scores.values for stem, scores in self.stems.items()} | {"average": self.average}


@dataclass(frozen=True)
class Scores:
    """What an evaluation found: each method's scores and the record that makes them repeatable."""

    methods: Mapping[str, MethodScores]
    record: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The content of `scores.json`: NaN as null."""
        methods = self.methods.items()
        return {
            **self.record,
            "scores": {name: _plain(method.rows) for name, method in methods},
            "nan": {name: {stem: s.counts() for stem, s in method.stems.items()} for name, method in methods},
            "per_track": {
                name: {track: _plain(rows) for track, rows in method.tracks.items()} for name, method in methods
            },
            "null_error": {name: dict(method.null_errors) for name, method in methods},
        }


def spreadsheet(scores: Scores) -> str:
    """The content of `scores.csv`: one row a track, method and stem, every measure in a column of its own, in dB.

    The null error is that of the track, the same in its rows; what is not defined is empty.
    """
    methods = scores.methods.values()
    measures = list(dict.fromkeys(m for method in methods for m in method.average))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track", "method", "stem", *measures, "null_error"])
    for track in scores.record["tracks"]:
        for name, method in scores.methods.items():
            null = method.null_errors[track]
            for stem, values in method.tracks[track].items():
                numbers = [values.get(measure, np.nan) for measure in measures] + [np.nan if null is None else null]
                writer.writerow([track, name, stem, *(x if np.isfinite(x) else "" for x in numbers)])
    return text.getvalue()


def aggregate(tracks: Sequence[TrackScores]) -> MethodScores:
    """Summary of a method's tracks as museval makes it: the median over a track's windows, then the median over tracks.

    NaN and infinite windows are left out. uSDR and the other measures of whole tracks are averaged over tracks, as in
    the demixing challenges. `average` is the mean over stems.
    """
    by_track = {
        scores.track: {
            stem: {metric: _finite(np.median, v) for metric, v in metrics.items()}
            | {measure: values[stem] for measure, values in scores.whole.items()}
            for stem, metrics in scores.frames.items()
        }
        for scores in tracks
    }
    stems = {stem: _stem(stem, tracks, by_track) for stem in tracks[0].frames}
    metrics = next(iter(stems.values())).values
    average = {metric: _finite(np.mean, [stem.values[metric] for stem in stems.values()]) for metric in metrics}
    return MethodScores(stems, average, by_track, {scores.track: scores.null_error for scores in tracks})


def summary(path: Path, checkpoint: str) -> dict[str, Any]:
    """What of a `scores.json` goes into a bundle: every method's scores a stem, in dB, and how they came about.

    Args:
        path: the file that `evaluate` wrote.
        checkpoint: the beginning of the SHA-256 of the checkpoint or bundle that must have been scored.

    Raises:
        ConfigError: where it is no such file, or scores another checkpoint.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: record[name] for name in ("scores", "data", "split", "tracks", "checkpoint", "commit", "date")}
        metric = record["metric"]
        kept["metric"] = {name: metric[name] for name in ("name", "unit", "aggregation")}
        scored = record["checkpoint"] or {"name": "a model without a file", "sha256": ""}
        name, digest = scored["name"], scored["sha256"]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give the scores.json of eval.py") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no scores ({error}): give the scores.json of eval.py") from error
    if not digest.startswith(checkpoint):
        raise ConfigError(
            f"{path} scores {name} ({digest[:16] or 'no hash'}), not this file ({checkpoint}): score this one, or give "
            "that one"
        )
    how = ("max_seconds", "segment_seconds", "overlap", "precision", "wiener")
    return kept | {name: record.get(name) for name in how}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _metric(settings: EvaluationSettings) -> dict[str, Any]:
    full = settings.metrics == "full"
    return {
        "name": "BSSEval v4" if settings.window_seconds == 1 else f"BSSEval v4, {settings.window_seconds:g} s segments",
        "metrics": settings.metrics,
        "evaluator": settings.evaluator,
        "device": settings.device,
        "computed": COMPUTED[settings.evaluator] if full else "SDR only, exactly as museval; no ISR, SIR, SAR",
        "unit": "dB",
        "window_seconds": settings.window_seconds,
        "hop_seconds": settings.hop_seconds,
        "aggregation": "median over windows, then median over tracks; NaN and infinite windows left out; "
        "average: mean over stems",
        "silence": "a window where reference or estimate of any scored stem is silent is NaN for all stems; "
        "stems silent throughout a track are left out of that track",
        "interference": "all sources of the mixture; those outside the stems take part as one unreported stem",
        **{name: f"{WHOLE[name]}; of whole tracks, mean over tracks" for name in (WHOLE if full else ("uSDR",))},
        **({"null_error": NULL_ERROR} if full else {}),
        **{name: f"{how}, STFT {N_FFT}, hop {HOP}" for name, how in ORACLES.items() if name in settings.references},
    }


def _stem(stem: str, tracks: Sequence[TrackScores], by_track: Mapping[str, Mapping[str, Values]]) -> StemScores:
    rows = [track[stem] for track in by_track.values()]
    sdr = [track.frames[stem]["SDR"] for track in tracks]
    return StemScores(
        values={
            metric: _finite(np.mean if metric in WHOLE else np.median, [row[metric] for row in rows])
            for metric in rows[0]
        },
        frames=sum(len(values) for values in sdr),
        nan_frames=sum(int((~np.isfinite(values)).sum()) for values in sdr),
        silent_tracks=tuple(track.track for track in tracks if stem in track.left_out),
    )


def _finite(summary: Callable[[NDArray], Any], values: Any) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(summary(finite)) if finite.size else float("nan")


def _plain(rows: Mapping[str, Values]) -> dict[str, dict[str, float | None]]:
    return {
        stem: {metric: value if np.isfinite(value) else None for metric, value in values.items()}
        for stem, values in rows.items()
    }
