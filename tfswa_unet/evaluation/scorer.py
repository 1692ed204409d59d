"""Scores of a track are kept and taken again while everything they depend on is the same."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.bsseval import TrackScores, museval_json, score
from tfswa_unet.evaluation.report import MODEL, file_name, source_hash, versions
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import REFERENCES, Song, Stems
from tfswa_unet.files import write_text


@dataclass(frozen=True)
class ScoreCache:
    """A JSON file a track and method in `folder`.

    A model's scores depend on its checkpoint, on how it was applied and on this package's code. Those of a reference
    method depend on the data and the metric only, so every checkpoint shares them.
    """

    folder: Path
    settings: EvaluationSettings
    checkpoint_hash: str | None

    def load(self, song: Song, method: str) -> TrackScores | None:
        """Scores of an earlier run, or None where there are none that still hold."""
        try:
            stored = json.loads(self._path(song, method).read_text(encoding="utf-8"))
            fingerprint = self._fingerprint(song, method)
            if fingerprint is None or stored["fingerprint"] != fingerprint:
                return None
            return TrackScores.from_dict(stored["scores"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def save(self, song: Song, method: str, scores: TrackScores) -> None:
        """Keep scores for later runs."""
        stored = {"fingerprint": self._fingerprint(song, method), "scores": scores.to_dict()}
        write_text(self._path(song, method), json.dumps(stored))

    def _path(self, song: Song, method: str) -> Path:
        return self.folder / method / f"{file_name(song.track.name)}.json"

    def _fingerprint(self, song: Song, method: str) -> str | None:
        """None where nothing identifies the model: such scores are never taken again."""
        settings = self.settings
        parts = [
            method,
            song.track.name,
            song.length,
            song.track.rate,
            [[stem, list(sources)] for stem, sources in song.plan.items()],
            [
                [name, str(part.path), part.stream, part.start, part.length, *_state(part.path)]
                for name, source in song.track.sources.items()
                for part in source.parts
            ],
            [settings.metrics, settings.window_seconds, settings.hop_seconds],
            versions()["museval"],
        ]
        if method not in settings.references:
            if self.checkpoint_hash is None:
                return None
            parts += [self.checkpoint_hash, source_hash(), settings.model]
            parts += [settings.overlap, settings.segment_seconds, settings.seed, settings.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One track by one method; a model's stems lie in `estimates` as an array (s, c, t) in the order of the targets."""

    song: Song
    method: str
    settings: EvaluationSettings
    estimates: Path | None = None


def run_job(job: Job) -> TrackScores:
    """Read a job's audio and score it; the file of estimates is deleted."""
    if job.estimates is None:
        return score_song(job.song, reference_stems(job.song, job.method), job.settings)
    stacked = np.load(job.estimates, allow_pickle=False)
    job.estimates.unlink()
    return score_song(job.song, dict(zip(job.song.targets, stacked, strict=True)), job.settings)


def reference_stems(song: Song, method: str) -> Stems:
    """The stems (c, t) that one of the reference methods gives for a song."""
    return REFERENCES[method](song.mixture, song.targets)


def score_song(song: Song, estimates: Stems, settings: EvaluationSettings) -> TrackScores:
    """Score stems (c, t) under the names of `song.targets`."""
    # Truncated, as museval turns seconds into samples.
    rate = song.track.rate
    window, hop = (max(1, int(seconds * rate)) for seconds in (settings.window_seconds, settings.hop_seconds))
    return score(song.track.name, song.targets, estimates, window, hop, settings.metrics)


@contextmanager
def scoring_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each; what is still waiting when the block ends early is dropped."""
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with _one_thread():
            # BLAS reads its thread count when it is loaded, so all processes are started while the variables are set.
            for _ in range(workers):
                pool.submit(int)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


ScoringProgress = Callable[[int, int, str], None]


class Book:
    """The scores of an evaluation by track and method: from earlier runs, or entered as they come in."""

    def __init__(
        self,
        out: Path,
        settings: EvaluationSettings,
        cache: ScoreCache,
        total: int,
        on_progress: ScoringProgress | None,
    ) -> None:
        self.out, self.settings, self.cache = out, settings, cache
        self.total, self.on_progress = total, on_progress
        self.scores: dict[tuple[str, str], TrackScores] = {}

    def recall(self, song: Song, method: str) -> bool:
        """Whether an earlier run's scores still hold; if so they are entered."""
        scores = self.cache.load(song, method)
        if scores is not None:
            self._note(song, method, scores)
        return scores is not None

    def enter(self, song: Song, method: str, scores: TrackScores) -> None:
        """Keep new scores."""
        self.cache.save(song, method, scores)
        self._note(song, method, scores)

    def museval_folder(self, method: str) -> Path:
        """Where museval looks for tracks: it reads the folder named test only, whatever the split."""
        return self.out / "museval" / file_name(self.settings.model if method == MODEL else method) / "test"

    def _note(self, song: Song, method: str, scores: TrackScores) -> None:
        name = song.track.name
        self.scores[name, method] = scores
        if self.settings.metrics == "full":
            text = museval_json(scores, self.settings.window_seconds, self.settings.hop_seconds)
            write_text(self.museval_folder(method) / f"{file_name(name)}.json", text)
        if self.on_progress is not None:
            self.on_progress(len(self.scores), self.total, name)


class Scorer:
    """Scores in `pool`, or at once in this process without one; `scratch` holds estimates on their way to the pool."""

    def __init__(self, book: Book, pool: ProcessPoolExecutor | None, workers: int, scratch: Path) -> None:
        self.book, self.pool, self.workers, self.scratch = book, pool, workers, scratch
        self._running: dict[Future[TrackScores], tuple[Song, str]] = {}

    def submit(self, song: Song, method: str, estimates: Stems | None = None) -> None:
        """Score a model's stems (c, t), or without any the stems that a reference method gives.

        A pool takes the job at once while it has fewer than two a process; else this waits.
        """
        settings = self.book.settings
        if self.pool is None:
            stems = reference_stems(song, method) if estimates is None else estimates
            self.book.enter(song, method, score_song(song, stems, settings))
            return
        path = None if estimates is None else self._save(song, estimates)
        job = Job(song.unread(), method, settings, path)
        with _explained(self.workers):
            self._running[self.pool.submit(run_job, job)] = job.song, method
        self._collect(2 * self.workers - 1)

    def finish(self) -> None:
        """Wait for everything submitted."""
        self._collect(0)

    def _save(self, song: Song, estimates: Stems) -> Path:
        handle, name = tempfile.mkstemp(dir=self.scratch, suffix=".npy")
        with os.fdopen(handle, "wb") as file:
            np.save(file, np.stack([estimates[stem] for stem in song.targets]), allow_pickle=False)
        return Path(name)

    def _collect(self, allowed: int) -> None:
        while len(self._running) > allowed:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                song, method = self._running.pop(future)
                with _explained(self.workers):
                    self.book.enter(song, method, future.result())


@contextmanager
def _explained(workers: int) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise ConfigError(
            f"a scoring process ended early, most likely for lack of memory: set workers below {workers}, "
            "or limit max_seconds"
        ) from error
