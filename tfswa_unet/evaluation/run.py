"""Separate tracks and score them, as a library call and as eval.py does it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tfswa_unet.bundle import find_model, load_model, model_name
from tfswa_unet.config import from_values
from tfswa_unet.data import StemPlan, data_sets, load_data
from tfswa_unet.data.stems import source_names
from tfswa_unet.errors import DataError
from tfswa_unet.evaluation.bsseval import load_museval
from tfswa_unet.evaluation.equaliser import Equaliser, fit, training_songs
from tfswa_unet.evaluation.estimates import SavedStems
from tfswa_unet.evaluation.excerpts import keep, worst
from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.evaluation.report import MODEL, Scores, aggregate, describe, spreadsheet
from tfswa_unet.evaluation.report_page import write_report
from tfswa_unet.evaluation.results import SPEED
from tfswa_unet.evaluation.scorer import OnScored, Scorer, ScoreStore, scoring_processes
from tfswa_unet.evaluation.settings import EvaluationConfig, EvaluationSettings
from tfswa_unet.evaluation.terminal import LiveScores, tables
from tfswa_unet.evaluation.tracks import REST, Audio, ScoredTrack, file_name
from tfswa_unet.files import content_hash, write_text
from tfswa_unet.inference import Separator
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.processes import keep_pages, processors
from tfswa_unet.types import Track

SCRATCH = ".estimates-"  # folders of stems on their way to other processes
Separate = Callable[[Audio, int], Mapping[str, Audio]]  # (mixture, rate in Hz) → stems by name


def evaluate(
    separate: Separate | SavedStems,
    tracks: Sequence[Track],
    plan: StemPlan,
    out: Path,
    *,
    settings: EvaluationSettings,
    on_progress: OnScored | None = None,
) -> Scores:
    """Separate and score tracks, and write `out/scores.json` and `out/scores.csv`.

    Beside them lie `tracks/<method>/` with every window's score, taken again by a later run with the same checkpoint,
    code, data and settings; with `metrics="full"` `museval/<method>/test/` in museval's own format; `pictures/`; how
    fast separation was, `speed.json`; and `report.html`, with the worst passages to be heard.
    While museval scores tracks in other processes the next one is separated.

    Args:
        separate: maps a mixture (c, t) and its rate in Hz to stems (c, t), at least those of the plan; or
            stems as files.
        tracks: songs with all their sources; the mixture is their sum.
        plan: resolves the names of all tracks' sources into stems; a source that a track lacks is silent there.
        out: folder, made where missing.
        settings: what is measured, and what the record says of the model.
        on_progress: told of each track and method scored.

    Raises:
        ConfigError: a plan that overlaps, museval asked for and missing, or its scoring out of memory.
        DataError: no tracks, two of one name, or sources that differ in channels.
        ModelError: the model's stems are missing, misshapen or not finite.
    """
    songs = _songs(tracks, plan, settings)
    if settings.evaluator == "museval":
        load_museval()
    checkpoint_hash = content_hash(settings.checkpoint) if settings.checkpoint else None
    record = describe(settings, songs, checkpoint_hash)
    if isinstance(separate, SavedStems):
        separate.check(songs)
    out.mkdir(parents=True, exist_ok=True)

    methods = (MODEL, *settings.compared)
    identity = separate.state if isinstance(separate, SavedStems) else lambda _: checkpoint_hash
    store = ScoreStore(out, settings, identity, len(songs) * len(methods), on_progress)
    for method in methods:
        for stale in store.museval_folder(method).glob("*.json"):
            stale.unlink()
    wanted = [(song, missing) for song in songs if (missing := [m for m in methods if not store.recall(song, m)])]
    speed = _score(separate, wanted, store)

    scores = Scores({m: aggregate([store.scores[song.name, m] for song in songs]) for m in methods}, record)
    write_text(out / "scores.csv", spreadsheet(scores))
    write_text(out / "scores.json", json.dumps(scores.to_dict(), indent=2, allow_nan=False) + "\n")
    if speed:
        write_text(out / SPEED, json.dumps({"real_time_factor": float(np.median(speed))}) + "\n")
    if settings.report:
        _report(separate, songs, store)
    return scores


def score_checkpoint(values: Mapping[str, Any]) -> Scores:
    """Score a checkpoint, a bundle or another tool's stems as configured; print the table and where the files lie.

    Raises:
        UserError: for a checkpoint, estimates, data set or setting that cannot be used, before any track is scored.
    """
    keep_pages()
    config = from_values(EvaluationConfig, values, "")
    saved = SavedStems(Path(config.estimates).expanduser()) if config.estimates else None
    model: Any = None if saved else load_model(str(config.ckpt))
    sets = data_sets(config.data)
    tracks = load_data(sets, config.split, on_error=config.data["on_error"])
    plan = StemPlan.from_config(
        saved.plan(track.name for track in tracks[: config.max_tracks]) if saved else model.config["stems"]
    )
    rate = max(track.rate for track in tracks)
    device = pick_device(config.device)
    common: dict[str, Any] = {
        "data_root": Path("+".join(sets) if len(sets) > 1 else next(iter(sets.values())).root),
        "metrics": config.metrics,
        "evaluator": config.evaluator,
        "device": str(device) if device.type == "cuda" and config.evaluator == "torch" else "cpu",
        "window_seconds": config.segments or 1.0,
        "hop_seconds": config.segments or 1.0,
        "references": config.references,
        "max_seconds": config.max_seconds,
        "max_tracks": config.max_tracks,
        "equaliser": _equaliser(config, plan, rate, model.channels if model else 2),
        "workers": config.workers,
        "pictures": config.pictures,
        "report": config.report,
        "parameters": sum(parameter.numel() for parameter in model.parameters()) if model else None,
    }
    separate: Separate | SavedStems
    if saved:
        separate, folder = saved, saved.folder.resolve()
        settings = EvaluationSettings(folder.name, **common)
        beside = folder
    else:
        options: dict[str, Any] = {"batch": config.batch, "precision": config.precision, "wiener": config.wiener}
        separator = Separator(model, device, config.segment, config.overlap, **options)
        separate, checkpoint = separator.separate, find_model(config.ckpt)
        settings = EvaluationSettings(
            model.config["name"],
            checkpoint=checkpoint,
            overlap=separator.overlap_seconds / separator.segment_seconds,
            segment_seconds=separator.segment_seconds,
            precision=separator.precision,
            wiener=separator.wiener,
            **common,
        )
        given, name = Path(str(config.ckpt)), model_name(str(config.ckpt))
        beside = given.with_name(name) if given.is_file() else Path(name)
    of_segments = f"-{config.segments:g}s" if config.segments else ""
    out = Path(config.out) if config.out else beside.with_name(f"scores-{beside.name}-{config.split}{of_segments}")
    with LiveScores(settings.model, len(settings.compared) + 1) as live:
        scores = evaluate(separate, tracks, plan, out, settings=settings, on_progress=live.show)
    console = Console()
    for part in tables(scores):
        console.print(part)
    console.print(f"scores: {out / 'scores.json'}", soft_wrap=True)
    if config.report:
        console.print(f"report: {out / 'report.html'}", soft_wrap=True)
    return scores


def _equaliser(config: EvaluationConfig, plan: StemPlan, rate: int, channels: int) -> Equaliser | None:
    if config.equaliser is None:
        return None
    root = Path(config.equaliser).expanduser()
    songs = training_songs(root, plan, config.data["on_error"])
    with Console(stderr=True).status("fitting the equaliser"):
        return fit(songs, plan, rate, channels, root.resolve().name)


def _report(separate: Separate | SavedStems, songs: Sequence[ScoredTrack], store: ScoreStore) -> None:
    """Write the page; tracks with one of the worst passages are separated once more, so that it is what was scored."""
    settings = store.settings
    tracks = [store.scores[song.name, MODEL] for song in songs]
    found = [worst(tracks, stem, settings.window_seconds, settings.hop_seconds) for stem in songs[0].plan]
    excerpts = [excerpt for excerpt in found if excerpt]
    keep(excerpts, {song.name: song for song in songs}, partial(_estimates, separate), store.out)
    write_report(store.out, excerpts)


def _score(
    separate: Separate | SavedStems, wanted: Sequence[tuple[ScoredTrack, Sequence[str]]], store: ScoreStore
) -> list[float]:
    """Score what is wanted; real-time factors of the separations."""
    settings = store.settings
    workers = min(settings.workers or processors(), sum(len(methods) for _, methods in wanted))
    for stale in store.out.glob(f"{SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(stale)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=store.out, prefix=SCRATCH))
        # All but museval, most of which is one thread's work, uses every core by itself.
        in_processes = settings.evaluator == "museval" and workers > 0
        pool = stack.enter_context(scoring_processes(workers)) if in_processes else None
        scorer = Scorer(store, pool, workers, Path(scratch))
        speed = []
        for number, (unread, methods) in enumerate(wanted):
            song = unread.unread()
            for method in methods:
                stems = None
                if method == MODEL:
                    before = time.perf_counter()
                    estimates = _estimates(separate, song)
                    speed.append((time.perf_counter() - before) * song.rate / song.length)
                    stems = song.complete(estimates)
                scorer.submit(song, method, stems)
                if stems is not None and number < settings.pictures:
                    _picture(song, stems, store.out)
        scorer.finish()
    return [] if isinstance(separate, SavedStems) else speed


def _estimates(separate: Separate | SavedStems, song: ScoredTrack) -> Mapping[str, Audio]:
    return separate.read(song) if isinstance(separate, SavedStems) else separate(song.mixture, song.rate)


def _picture(song: ScoredTrack, stems: Mapping[str, Audio], out: Path) -> None:
    shown = {stem: values for stem, values in stems.items() if stem != REST}
    spectrograms(
        out / "pictures" / f"{file_name(song.name)}.png",
        song.mixture,
        shown,
        song.rate,
        title=song.name,
        references={stem: song.targets[stem] for stem in shown},
    )


def _songs(tracks: Sequence[Track], plan: StemPlan, settings: EvaluationSettings) -> list[ScoredTrack]:
    if not tracks:
        raise DataError("there are no tracks to evaluate: check data.root and the split")
    resolved = plan.resolve(source_names(tracks))  # before the cut: a stem that the first songs lack is silent there
    tracks = tracks[: settings.max_tracks]
    names = [file_name(track.name) for track in tracks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two tracks are named {twice[0]!r}: rename one, scores are filed by name")
    return [ScoredTrack(track, resolved, settings.max_seconds) for track in tracks]
