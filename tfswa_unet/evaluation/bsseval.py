"""BSSEval version 4 of a track's stems, by museval or by its exact shortcut, and without its failures on silence."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.metrics import sdr, windowed_sdr, windows
from tfswa_unet.evaluation.references import Audio, Stems
from tfswa_unet.evaluation.settings import Metrics
from tfswa_unet.evaluation.track_scores import METRICS, Frames, TrackScores

# Everything in the mixture that no stem of the plan holds: it takes part as interference and is not reported.
REST = "(rest)"


def score(
    track: str, references: Stems, estimates: Stems, window: int, hop: int, metrics: Metrics = "full"
) -> TrackScores:
    """Score the estimates of one track.

    Stems that are silent from end to end, in reference or estimate, are left out of the comparison and get NaN; the
    others are scored as museval scores them, so a window where one of them is silent is NaN for all.

    Args:
        track: name for the record.
        references: name → (c, t); `REST` takes part and is not reported.
        estimates: (c, t) under the same names.
        window: samples.
        hop: samples between the starts of windows.
        metrics: "full" for SDR, ISR, SIR and SAR, "sdr" for SDR only.
    """
    scored = [stem for stem in references if not (_silent(references[stem]) or _silent(estimates[stem]))]
    names = METRICS if metrics == "full" else ("SDR",)
    nothing = np.full(windows(next(iter(references.values())).shape[-1], window, hop), np.nan)
    frames = {stem: {name: nothing for name in names} for stem in references}
    if scored:
        stacked = np.stack([references[s] for s in scored]), np.stack([estimates[s] for s in scored])
        rows = museval_frames(*stacked, window, hop) if metrics == "full" else _sdr_frames(*stacked, window, hop)
        frames |= {stem: dict(zip(names, row, strict=True)) for stem, row in zip(scored, rows, strict=True)}
    reported = [stem for stem in references if stem != REST]
    return TrackScores(
        track=track,
        frames={stem: frames[stem] for stem in reported},
        usdr={s: sdr(_tensor(references[s]), _tensor(estimates[s])).item() for s in reported},
        left_out=tuple(stem for stem in reported if stem not in scored),
    )


def museval_frames(references: Audio, estimates: Audio, window: int, hop: int) -> Frames:
    """SDR, ISR, SIR and SAR in dB by museval itself, (s, 4, windows); arguments (s, c, t), no stem silent throughout.

    Version 4 projects with filters fitted to the whole track, which is why one track cannot be shared out.
    """
    museval = load_museval()
    values = museval.metrics.bss_eval(
        np.moveaxis(references, 1, 2), np.moveaxis(estimates, 1, 2), window=window, hop=hop, compute_permutation=False
    )
    return np.stack(values[:4], axis=1)


def museval_json(scores: TrackScores, window_seconds: float, hop_seconds: float) -> str:
    """The track's scores in museval's JSON, text that `museval.EvalStore` and `museval.MethodStore` read.

    museval keeps five decimals and writes infinite scores as NaN.
    """
    store = load_museval().TrackStore(win=window_seconds, hop=hop_seconds, track_name=scores.track)
    for stem, metrics in scores.frames.items():
        store.add_target(stem, {name: values.tolist() for name, values in metrics.items()})
    store.validate()
    return store.json


def load_museval() -> ModuleType:
    """Import museval.

    Raises:
        ConfigError: it is not installed, or ffmpeg, without which it does not import, is missing.
    """
    try:
        import museval
        import museval.metrics
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"museval cannot be imported ({error}): install museval, ffmpeg and ffprobe, or set metrics=sdr"
        ) from error
    # museval 0.4.1 falls back to least squares on np.linalg.linalg.LinAlgError, a name that NumPy 2.4 dropped.
    if not hasattr(np.linalg, "linalg"):
        np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    return museval


def _sdr_frames(references: Audio, estimates: Audio, window: int, hop: int) -> Frames:
    values = windowed_sdr(torch.from_numpy(references), torch.from_numpy(estimates), window, hop, museval_nan=True)
    return values[:, None].numpy()


def _silent(audio: NDArray[np.floating]) -> bool:
    # museval's own test: channels that cancel everywhere count as silence and would stop it with an error.
    return not np.any(audio.sum(axis=0))


def _tensor(audio: Audio) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(audio))
