"""Scoring of tracks in this process or several others, and the scores that earlier runs left."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.bsseval import TrackScores, museval_json, score
from tfswa_unet.evaluation.equaliser import EQUALISER
from tfswa_unet.evaluation.estimates import file_state
from tfswa_unet.evaluation.measures import null_error, whole_track
from tfswa_unet.evaluation.references import REFERENCES
from tfswa_unet.evaluation.report import MODEL, source_hash, versions
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.tracks import ScoredTrack, Stems, file_name
from tfswa_unet.files import write_text
from tfswa_unet.processes import environment

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Scored:
    """How far an evaluation has come: what has just been scored, or taken from an earlier run."""

    method: str
    scores: TrackScores
    done: int  # tracks times methods that have scores
    total: int
    recalled: int  # of those that have scores, taken from an earlier run


OnScored = Callable[[Scored], None]  # after each track and method


@dataclass
class ScoreStore:
    """The scores of an evaluation by track and method: of earlier runs where they still hold, or entered as they come.

    Each is kept as a JSON file in `out/tracks/<method>`. All hold for the same data, metric and code of this package
    only; a model's for the same checkpoint, or files of stems, and way of applying it too, so that checkpoints share
    those of reference methods, and an equaliser's for its gains.
    """

    out: Path  # folder of the evaluation
    settings: EvaluationSettings
    identity: Callable[[ScoredTrack], Any]  # of what made a track's stems; where it is None they are scored each time
    total: int  # tracks times methods
    on_scored: OnScored | None  # told of each score
    scores: dict[tuple[str, str], TrackScores] = field(default_factory=dict)
    recalled: int = 0

    def recall(self, song: ScoredTrack, method: str) -> bool:
        """Whether an earlier run's scores still hold; if so they are entered."""
        try:
            stored = json.loads(self._path(song, method).read_text(encoding="utf-8"))
            fingerprint = self._fingerprint(song, method)
            if fingerprint is None or stored["fingerprint"] != fingerprint:
                return False
            scores = TrackScores.from_dict(stored["scores"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        self.recalled += 1
        self._note(song, method, scores)
        return True

    def enter(self, song: ScoredTrack, method: str, scores: TrackScores) -> None:
        """Keep new scores."""
        stored = {"fingerprint": self._fingerprint(song, method), "scores": scores.to_dict()}
        write_text(self._path(song, method), json.dumps(stored))
        self._note(song, method, scores)

    def museval_folder(self, method: str) -> Path:
        """Where museval looks for tracks: it reads the folder named test only, whatever the split."""
        return self.out / "museval" / file_name(self.settings.model if method == MODEL else method) / "test"

    def _note(self, song: ScoredTrack, method: str, scores: TrackScores) -> None:
        self.scores[song.name, method] = scores
        if self.settings.metrics == "full":
            text = museval_json(scores, self.settings.window_seconds, self.settings.hop_seconds)
            write_text(self.museval_folder(method) / f"{file_name(song.name)}.json", text)
        if self.on_scored is not None:
            self.on_scored(Scored(method, scores, len(self.scores), self.total, self.recalled))

    def _path(self, song: ScoredTrack, method: str) -> Path:
        return self.out / "tracks" / method / f"{file_name(song.name)}.json"

    def _fingerprint(self, song: ScoredTrack, method: str) -> str | None:
        """What scores depend on, hashed; None where nothing identifies the model."""
        settings = self.settings
        parts: list[Any] = [
            method,
            song.name,
            song.length,
            song.rate,
            [[stem, list(sources)] for stem, sources in song.plan.items()],
            [
                [name, str(part.path), part.stream, part.start, part.length, *file_state(part.path)]
                for name, source in song.track.sources.items()
                for part in source.parts
            ],
            [settings.metrics, settings.evaluator, settings.window_seconds, settings.hop_seconds],
            [versions()["museval"], source_hash()],
        ]
        if method == MODEL:
            identity = self.identity(song)
            if identity is None:
                return None
            parts += [identity, settings.model]
            parts += [settings.overlap, settings.segment_seconds, settings.precision, settings.wiener]
        if method == EQUALISER and settings.equaliser is not None:
            parts.append(settings.equaliser.sha256)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def score_saved(song: ScoredTrack, method: str, settings: EvaluationSettings, saved: Path | None) -> TrackScores:
    """Score a track in another process: a model's stems lie in a file that is removed, in the order of the targets."""
    if saved is None:
        return score_track(song, method, None, settings)
    stacked = np.load(saved, allow_pickle=False)
    saved.unlink()
    return score_track(song, method, dict(zip(song.targets, stacked, strict=True)), settings)


def score_track(song: ScoredTrack, method: str, estimates: Stems | None, settings: EvaluationSettings) -> TrackScores:
    """Score stems (c, t) under the names of `song.targets`; without any, those that the reference `method` gives."""
    if estimates is None:
        if method == EQUALISER and settings.equaliser is not None:
            estimates = song.complete(settings.equaliser.separate(song.mixture, song.rate))
        else:
            estimates = REFERENCES[method](song.mixture, song.targets)
    # Truncated, as museval turns seconds into samples.
    window, hop = (max(1, int(seconds * song.rate)) for seconds in (settings.window_seconds, settings.hop_seconds))
    scores = score(
        song.name, song.targets, estimates, window, hop, settings.metrics, settings.evaluator, settings.device
    )
    if settings.metrics == "sdr":
        return scores
    further = whole_track(song.targets, estimates, song.rate, settings.device)
    return replace(scores, whole={**scores.whole, **further}, null_error=null_error(song.targets, estimates))


class Scorer:
    """Scores in `pool`, or at once in this process without one; `scratch` holds estimates on their way to the pool.

    Raises:
        ConfigError: where one of the pool's `workers` processes dies, most likely for lack of memory.
    """

    def __init__(self, store: ScoreStore, pool: ProcessPoolExecutor | None, workers: int, scratch: Path) -> None:
        self.store, self.pool, self.workers, self.scratch = store, pool, workers, scratch
        self._running: dict[Future[TrackScores], tuple[ScoredTrack, str]] = {}

    def submit(self, song: ScoredTrack, method: str, estimates: Stems | None = None) -> None:
        """Score a model's stems (c, t), or without any the stems that a reference method gives.

        A pool takes the job at once while it has fewer than two a process; else this waits.
        """
        settings = self.store.settings
        if self.pool is None:
            self.store.enter(song, method, score_track(song, method, estimates, settings))
            return
        saved, unread = None if estimates is None else self._save(song, estimates), song.unread()
        with self._death_explained():
            self._running[self.pool.submit(score_saved, unread, method, settings, saved)] = unread, method
        self._collect(2 * self.workers - 1)

    def finish(self) -> None:
        """Wait for everything submitted."""
        self._collect(0)

    def _save(self, song: ScoredTrack, estimates: Stems) -> Path:
        handle, name = tempfile.mkstemp(dir=self.scratch, suffix=".npy")
        with os.fdopen(handle, "wb") as file:
            np.save(file, np.stack([estimates[stem] for stem in song.targets]), allow_pickle=False)
        return Path(name)

    def _collect(self, allowed: int) -> None:
        while len(self._running) > allowed:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                song, method = self._running.pop(future)
                with self._death_explained():
                    self.store.enter(song, method, future.result())

    @contextmanager
    def _death_explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            raise ConfigError(
                "a scoring process ended early, most likely for lack of memory: "
                f"set workers below {self.workers}, or limit max_seconds"
            ) from error


@contextmanager
def scoring_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each; what is still waiting when the block ends early is dropped."""
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with environment(**dict.fromkeys(THREAD_VARIABLES, "1")):
            # BLAS reads its thread count when it is loaded, so all processes are started while the variables are set.
            for _ in range(workers):
                pool.submit(int)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
