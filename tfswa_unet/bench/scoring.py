"""How long BSSEval version 4 of one track takes: ours in torch beside museval, and beside the other measures."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from tfswa_unet.bench.measures import PeakMemory
from tfswa_unet.bench.results import Failure, tell, time_in_turns
from tfswa_unet.bench.settings import ScoringSetting
from tfswa_unet.bench.subject import RATE, set_up
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.bsseval import EVALUATORS, METRICS, Frames, load_museval
from tfswa_unet.evaluation.measures import whole_track
from tfswa_unet.evaluation.tracks import Audio
from tfswa_unet.processes import device_name
from tfswa_unet.songs import synthesize

OURS, THEIRS = "torch", "museval"
OTHERS = "the other measures"  # of whole tracks, which are ours alone


def measure(setting: ScoringSetting) -> dict[str, Any]:
    """Score a synthetic track's estimates, four stereo stems at 44.1 kHz, by both in turn, beside the other measures.

    Gives medians. A longer track is scored by ours alone; museval's time for it is its time for the shorter one, times
    as much longer. Raises ConfigError where museval or one of them fails.
    """
    load_museval()
    set_up(setting.threads)
    short = stems(setting.seconds)
    frames: dict[str, Frames] = {}

    def score(name: str) -> None:
        frames[name] = EVALUATORS[name](*short, RATE, RATE)

    works: dict[tuple[str, ...], Callable[[], object]] = {(name,): partial(score, name) for name in EVALUATORS}
    true, estimates = (dict(zip("abcd", each, strict=False)) for each in short)
    works[OTHERS,] = partial(whole_track, true, estimates, RATE)
    found = time_in_turns(works, works, setting.runs, torch.device("cpu"), lambda seconds: f"{seconds:.2f} s")
    medians = {name: seconds for (name,), seconds in found.items() if not isinstance(seconds, Failure)}
    if len(medians) < len(works):
        raise ConfigError("one of them has no time: lower --seconds, and see the lines above")
    difference = np.abs(frames[OURS] - frames[THEIRS])
    record = {
        "stems": len(short[0]),
        "device_name": device_name(torch.device("cpu")),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "runs": setting.runs,
        "audio_seconds": setting.seconds,
        "median_seconds": medians,
        "times_faster": medians[THEIRS] / medians[OURS],
        "most_difference_db": dict(zip(METRICS, difference.max((0, 2)).tolist(), strict=True)),
    }
    return record if setting.long is None else record | {"long": _long(setting, medians[THEIRS])}


def stems(seconds: float) -> tuple[Audio, Audio]:
    """A synthetic song's stems and estimates of them with interference and noise, each (s, c, t)."""
    true = np.stack([*synthesize(0, seconds, RATE).values()])
    noise = np.random.default_rng(0).standard_normal(true.shape, dtype=np.float32)
    return true, 0.8 * true + 0.05 * true.sum(0) + 0.01 * true.std() * noise


def _long(setting: ScoringSetting, seconds: float) -> dict[str, Any]:
    assert setting.long is not None
    tell(f"a track of {setting.long:g} s")
    track = stems(setting.long)
    peak = PeakMemory(torch.device("cpu"))
    works = {(OURS,): partial(EVALUATORS[OURS], *track, RATE, RATE)}
    found = time_in_turns(works, {}, setting.runs, torch.device("cpu"), lambda taken: f"{taken:.2f} s")
    if isinstance(found.get((OURS,), Failure("")), Failure):
        raise ConfigError("the long track has no time: lower --long, and see the lines above")
    return {
        "audio_seconds": setting.long,
        "median_seconds": found[OURS,],
        "museval_seconds_extrapolated": seconds * setting.long / setting.seconds,
        **peak.facts(),
    }
