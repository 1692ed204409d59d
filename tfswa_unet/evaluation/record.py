"""What stands in `scores.json` beside the numbers: metric, data, settings, checkpoint, code."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from tfswa_unet.evaluation.provenance import commit, versions
from tfswa_unet.evaluation.references import ALPHA, HOP, N_FFT
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import Song

SHIFTS = 1  # a track is separated once; averages over shifted passes are not offered


def describe(settings: EvaluationSettings, songs: Sequence[Song], checkpoint_hash: str | None) -> dict[str, Any]:
    """Plain values, ready for JSON, that say how scores came about."""
    checkpoint = {"name": settings.checkpoint.name, "sha256": checkpoint_hash} if settings.checkpoint else None
    return {
        "model": settings.model,
        "checkpoint": checkpoint,
        "metric": _metric(settings),
        "data": settings.data_root.resolve().name if settings.data_root else None,
        "split": "+".join(sorted({song.track.split for song in songs})),
        "tracks": [song.track.name for song in songs],
        "max_seconds": settings.max_seconds,
        "stems": {stem: list(sources) for stem, sources in songs[0].plan.items()},
        "overlap": settings.overlap,
        "segment_seconds": settings.segment_seconds,
        "shifts": SHIFTS,
        "seed": settings.seed,
        "precision": settings.precision,
        "commit": commit(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _metric(settings: EvaluationSettings) -> dict[str, Any]:
    full = settings.metrics == "full"
    return {
        "name": "BSSEval v4",
        "metrics": settings.metrics,
        "computed": "SDR, ISR, SIR, SAR by museval" if full else "SDR only, exactly as museval; no ISR, SIR, SAR",
        "unit": "dB",
        "window_seconds": settings.window_seconds,
        "hop_seconds": settings.hop_seconds,
        "aggregation": "median over windows, then median over tracks; NaN and infinite windows left out; "
        "average: mean over stems",
        "silence": "a window where reference or estimate of any scored stem is silent is NaN for all stems; "
        "stems silent throughout a track are left out of that track",
        "interference": "all sources of the mixture; those outside the stems take part as one unreported stem",
        "uSDR": "10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)) over a whole track, mean over tracks",
        "irm": f"ideal ratio mask |S|^{ALPHA:g}, STFT {N_FFT}, hop {HOP}",
    }
