"""How a model is scored: everything that a score's reader must know to repeat it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tfswa_unet.bundle import load_model
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan, data_sets, load_data
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.evaluation.bsseval import load_museval
from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.evaluation.report import MODEL, Scores, aggregate, content_hash, describe, file_name
from tfswa_unet.evaluation.scorer import Book, ScoreCache, Scorer, ScoringProgress, scoring_processes
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import REST, Audio, Song
from tfswa_unet.files import write_text
from tfswa_unet.inference import Separator
from tfswa_unet.processes import keep_pages
from tfswa_unet.types import SPLITS, Track

Separate = Callable[[Audio, int], Mapping[str, Audio]]


class Plan(Protocol):
    """Which of a track's sources make each stem."""

    def resolve(self, available: Iterable[str]) -> Mapping[str, tuple[str, ...]]: ...


def evaluate(
    separate: Separate,
    tracks: Sequence[Track],
    plan: Plan,
    out: Path,
    *,
    settings: EvaluationSettings,
    on_progress: ScoringProgress | None = None,
) -> Scores:
    """Separate and score tracks, and write `out/scores.json`.

    Beside it lie `tracks/<method>/` with every window's score, taken again by a later run with the same checkpoint,
    code, data and settings; with `metrics="full"` `museval/<method>/test/` in museval's own format; and `pictures/`.
    While tracks are scored in other processes the next one is separated.

    Args:
        separate: maps a mixture (c, t) and its rate in Hz to stems (c, t), at least those of the plan.
        tracks: songs with all their sources; the mixture is their sum.
        plan: resolves the names of all tracks' sources into stems; a source that a track lacks is silent there.
        out: folder, made where missing.
        settings: what is measured, and what the record says of the model.
        on_progress: called with (done, total, track name) for each track and method scored.

    Raises:
        ConfigError: a plan that overlaps, museval missing, or scoring out of memory.
        DataError: no tracks, two of one name, or sources that differ in length or channels.
        ModelError: the model's stems are missing, misshapen or not finite.
    """
    songs = _songs(tracks, plan, settings)
    if settings.metrics == "full":
        load_museval()
    checkpoint_hash = content_hash(settings.checkpoint) if settings.checkpoint else None
    record = describe(settings, songs, checkpoint_hash)
    out.mkdir(parents=True, exist_ok=True)

    methods = (MODEL, *settings.references)
    cache = ScoreCache(out / "tracks", settings, checkpoint_hash)
    book = Book(out, settings, cache, len(songs) * len(methods), on_progress)
    for method in methods:
        for stale in book.museval_folder(method).glob("*.json"):
            stale.unlink()
    wanted = [(song, missing) for song in songs if (missing := [m for m in methods if not book.recall(song, m)])]
    _score(separate, wanted, book)

    scores = Scores({m: aggregate([book.scores[song.track.name, m] for song in songs]) for m in methods}, record)
    write_text(out / "scores.json", json.dumps(scores.to_dict(), indent=2, allow_nan=False) + "\n")
    return scores


def _score(separate: Separate, wanted: Sequence[tuple[Song, Sequence[str]]], book: Book) -> None:
    settings = book.settings
    workers = min(settings.workers or _cores(), sum(len(methods) for _, methods in wanted))
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=book.out, prefix=".estimates-"))
        # The fast SDR takes less time than handing the audio to another process.
        in_processes = settings.metrics == "full" and workers > 0
        pool = stack.enter_context(scoring_processes(workers)) if in_processes else None
        scorer = Scorer(book, pool, workers, Path(scratch))
        for number, (unread, methods) in enumerate(wanted):
            song = unread.unread()
            for method in methods:
                stems = song.complete(separate(song.mixture, song.track.rate)) if method == MODEL else None
                scorer.submit(song, method, stems)
                if stems is not None and number < settings.pictures:
                    _picture(song, stems, book.out)
        scorer.finish()


def _picture(song: Song, stems: Mapping[str, Audio], out: Path) -> None:
    shown = {stem: values for stem, values in stems.items() if stem != REST}
    spectrograms(
        out / "pictures" / f"{file_name(song.track.name)}.png",
        song.mixture,
        shown,
        song.track.rate,
        title=song.track.name,
        references={stem: song.targets[stem] for stem in shown},
    )


def _songs(tracks: Sequence[Track], plan: Plan, settings: EvaluationSettings) -> list[Song]:
    if not tracks:
        raise DataError("there are no tracks to evaluate: check data.root and the split")
    names = [file_name(track.name) for track in tracks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two tracks are named {twice[0]!r}: rename one, scores are filed by name")
    available = dict.fromkeys(source for track in tracks for source in track.sources)
    resolved = dict(plan.resolve(tuple(available)))
    return [Song(track, resolved, settings.max_seconds) for track in tracks]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    sets = data_sets(config.data)
    found = load_data(sets, config.split, on_error=config.data["on_error"])  # type: ignore[arg-type]
    tracks = found[: config.max_tracks]
    plan = StemPlan.from_config(model.config["stems"])
    separator = Separator(
        model, config.device, config.segment, config.overlap, batch=config.batch, precision=config.precision
    )
    checkpoint = Path(config.ckpt)
    settings = EvaluationSettings(
        model=model.config["name"],
        checkpoint=checkpoint,
        data_root=Path("+".join(sets) if len(sets) > 1 else next(iter(sets.values())).root),
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
