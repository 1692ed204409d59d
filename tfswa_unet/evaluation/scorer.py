"""Scores songs here or in other processes, and keeps every result on disk as soon as it is there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.bsseval import museval_json
from tfswa_unet.evaluation.cache import ScoreCache
from tfswa_unet.evaluation.files import file_name
from tfswa_unet.evaluation.references import Stems
from tfswa_unet.evaluation.report import MODEL
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import Song
from tfswa_unet.evaluation.track_scores import TrackScores
from tfswa_unet.evaluation.workers import Job, reference_stems, run_job, score_song
from tfswa_unet.files import write_text

Progress = Callable[[int, int, str], None]


class Book:
    """The scores of an evaluation by track and method: from earlier runs, or entered as they come in."""

    def __init__(
        self, out: Path, settings: EvaluationSettings, cache: ScoreCache, total: int, on_progress: Progress | None
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
