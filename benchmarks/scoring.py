"""Scores of whole songs: museval's SDR and the demixing challenges' uSDR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.networks import Whole
from tfswa_unet.evaluation import MethodScores, aggregate
from tfswa_unet.evaluation.bsseval import score
from tfswa_unet.evaluation.song import Song

Scores = dict[str, dict[str, float | None]]  # stem or "average" → metric → dB


def score_songs(songs: Sequence[Song], separate: Whole | None, stems: Sequence[str]) -> Scores:
    """Median over 1 s frames, then over songs, of museval's SDR, and mean uSDR of whole songs, in dB.

    Args:
        songs: what is separated.
        separate: None takes the mixture itself as the estimate of every stem.
        stems: names of what `separate` gives.

    Raises:
        ModelError: for estimates that are not finite.
    """
    tracks = []
    for song in songs:
        mixture = torch.from_numpy(song.mixture)
        given = mixture.expand(len(stems), *mixture.shape) if separate is None else separate(mixture)
        estimates = song.complete(dict(zip(stems, given.numpy(), strict=True)))
        rate = song.track.rate
        tracks.append(score(song.track.name, song.targets, estimates, window=rate, hop=rate, metrics="sdr"))
    return _plain(aggregate(tracks))


def _plain(scores: MethodScores) -> Scores:
    rows: dict[str, Mapping[str, Any]] = {stem: values.values for stem, values in scores.stems.items()}
    rows["average"] = scores.average
    return {
        stem: {metric: round(value, 3) if value == value else None for metric, value in values.items()}
        for stem, values in rows.items()
    }
