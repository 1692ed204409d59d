"""An evaluation as one HTML page: tables, how tracks are spread, and the worst passages to hear and see."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfswa_unet.evaluation.excerpts import FOLDER, SOUNDS, Excerpt
from tfswa_unet.evaluation.report import MODEL
from tfswa_unet.evaluation.results import AVERAGE, Result, read_result
from tfswa_unet.files import write_text
from tfswa_unet.pages import page, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "SDR"
FILE = "report.html"
MOST_TRACKS = 150  # that are drawn by name
# What of the record a reader wants to know first; the whole of it stands at the end.
FACTS = ("data", "split", "segment_seconds", "overlap", "precision", "wiener", "max_seconds", "commit", "date")


def write_report(out: Path, excerpts: Sequence[Excerpt]) -> Path:
    """Write `report.html` from what lies in an evaluation's folder, and give its path.

    It needs no network and no other file: pictures and sounds are inside.

    Args:
        out: folder of the evaluation, with scores.json.
        excerpts: what `excerpts.keep` kept there.
    """
    result = read_result(out)
    text = page(
        "report.html",
        title=f"{result.model} on {result.data}",
        facts={name: _told(result.record[name]) for name in FACTS if result.record.get(name) is not None},
        metrics=list(result.methods[MODEL][AVERAGE]),
        scores=result.methods[MODEL],
        references={name: rows for name, rows in result.methods.items() if name != MODEL},
        silent={stem: counts["silent_tracks"] for stem, counts in result.record["nan"][MODEL].items()},
        metric=METRIC,
        pictures=_pictures(result),
        excerpts=[_shown(excerpt, out / FOLDER) for excerpt in excerpts],
        record=json.dumps({k: v for k, v in result.record.items() if k != "per_track"}, indent=2),
    )
    write_text(out / FILE, text)
    return out / FILE


def _told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(excerpt: Excerpt, folder: Path) -> dict[str, Any]:
    sounds = {name: _data(folder / excerpt.sound(name), "audio/ogg") for name in SOUNDS}
    return {"excerpt": excerpt, "sounds": sounds, "picture": _data(folder / excerpt.picture, "image/png")}


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _pictures(result: Result) -> list[tuple[str, str]]:
    spread = {name: _of_tracks(result.record["per_track"][name]) for name in result.methods}
    if not any(spread[MODEL].values()):
        return []
    drawn = [(f"{METRIC} of tracks, by stem (dB)", picture(_boxes(spread, result.model)))]
    if len(result.tracks) <= MOST_TRACKS:
        drawn.append((f"{METRIC} of every track (dB)", picture(_bars(result.tracks))))
    return drawn


def _of_tracks(tracks: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> dict[str, list[float]]:
    """The tracks' scores by stem, of those that have one."""
    spread: dict[str, list[float]] = {}
    for rows in tracks.values():
        for stem, scores in rows.items():
            score = scores[METRIC]
            spread.setdefault(stem, []).extend([] if score is None else [score])
    return spread


def _boxes(spread: Mapping[str, Mapping[str, Sequence[float]]], model: str) -> Figure:
    """Box plots: quartiles, whiskers over 1.5 times their distance, a point for each track beyond."""
    from matplotlib.figure import Figure

    stems = list(spread[MODEL])
    figure = Figure(figsize=(max(5.0, 1.1 * len(stems) * len(spread) + 1), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(spread)
    for number, (method, scores) in enumerate(spread.items()):
        places = [place + (number - (len(spread) - 1) / 2) * width for place in range(len(stems))]
        boxes = axes.boxplot(
            [scores.get(stem, []) for stem in stems],
            positions=places,
            widths=0.85 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black"},
            flierprops={"markersize": 4},
        )
        for box in boxes["boxes"]:
            box.set_facecolor(f"C{number}")
        axes.plot([], [], color=f"C{number}", linewidth=6, label=model if method == MODEL else method)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_ylabel(f"{METRIC} (dB)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _bars(tracks: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Figure:
    """A panel a stem, a bar a track; a track without a score has none."""
    from matplotlib.figure import Figure

    stems = list(next(iter(tracks.values())))
    figure = Figure(figsize=(3 + 1.8 * len(stems), 1 + 0.2 * len(tracks)), layout="constrained")
    panels = figure.subplots(1, len(stems), sharey=True, squeeze=False)[0]
    for axes, stem in zip(panels, stems, strict=True):
        scores = [rows[stem][METRIC] for rows in tracks.values()]
        axes.barh(range(len(tracks)), [0 if score is None else score for score in scores], color="#0b62a4")
        axes.set_title(stem, fontsize=10)
        if not any(scores):
            axes.set_xticks([])
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(tracks)), [_short(name) for name in tracks], fontsize=8)
    panels[0].invert_yaxis()
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
