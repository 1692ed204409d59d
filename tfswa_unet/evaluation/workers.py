"""Scoring in processes of one thread each: museval's many small products only slow each other down with more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from tfswa_unet.evaluation.bsseval import score
from tfswa_unet.evaluation.references import REFERENCES, Stems
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import Song
from tfswa_unet.evaluation.track_scores import TrackScores

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
