"""BSSEval version 4 of one track's stems, window by window: in torch or by museval, or its SDR alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.measures import WHOLE
from tfswa_unet.evaluation.metrics import sdr, windowed_sdr, windows
from tfswa_unet.evaluation.projections import bss_eval
from tfswa_unet.evaluation.settings import Evaluator, Metrics
from tfswa_unet.evaluation.tracks import REST, Audio, Stems

METRICS = ("SDR", "ISR", "SIR", "SAR")
Frames = NDArray[np.float64]


@dataclass(frozen=True)
class TrackScores:
    """Scores of one track by one method.

    `frames[stem][metric]` holds a window's score in dB each, `whole[measure][stem]` one number of the whole track;
    `left_out` names stems whose reference or estimate is silent from end to end: BSSEval is not defined there and all
    their frames are NaN. uSDR is NaN where the reference is.
    """

    track: str
    frames: Mapping[str, Mapping[str, Frames]]
    whole: Mapping[str, Mapping[str, float]]  # dB; uSDR at least
    left_out: tuple[str, ...] = ()
    null_error: float | None = None  # dB, of the sum of all stems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, NaN and infinities as strings so that they come back as they were."""
        return {
            "track": self.track,
            "frames": {
                stem: {metric: [_plain(value) for value in values] for metric, values in metrics.items()}
                for stem, metrics in self.frames.items()
            },
            **{measure: {stem: _plain(v) for stem, v in values.items()} for measure, values in self.whole.items()},
            "null_error": self.null_error,
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrackScores:
        """Read what `to_dict` wrote; raises KeyError, TypeError or ValueError on anything else."""
        frames = {
            stem: {metric: np.array([float(value) for value in row]) for metric, row in metrics.items()}
            for stem, metrics in values["frames"].items()
        }
        whole = {
            measure: {stem: float(value) for stem, value in values[measure].items()}
            for measure in ("uSDR", *(each for each in WHOLE if each != "uSDR" and each in values))
        }
        return cls(values["track"], frames, whole, tuple(values["left_out"]), values["null_error"])


def _plain(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))


def score(
    track: str,
    references: Stems,
    estimates: Stems,
    window: int,
    hop: int,
    metrics: Metrics = "full",
    evaluator: Evaluator = "torch",
    device: str = "cpu",
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
        evaluator: of full metrics, "torch" or "museval".
        device: where the torch evaluator computes; it needs float64.

    Raises:
        ConfigError: museval is asked for and cannot be imported.
    """
    scored = [stem for stem in references if not (_silent(references[stem]) or _silent(estimates[stem]))]
    names = METRICS if metrics == "full" else ("SDR",)
    nothing = np.full(windows(next(iter(references.values())).shape[-1], window, hop), np.nan)
    frames = {stem: {name: nothing for name in names} for stem in references}
    if scored:
        stacked = np.stack([references[s] for s in scored]), np.stack([estimates[s] for s in scored])
        if metrics == "full" and evaluator == "torch":
            rows = torch_frames(*stacked, window, hop, device)
        else:
            rows = (_sdr_frames if metrics == "sdr" else museval_frames)(*stacked, window, hop)
        frames |= {stem: dict(zip(names, row, strict=True)) for stem, row in zip(scored, rows, strict=True)}
    reported = [stem for stem in references if stem != REST]
    return TrackScores(
        track=track,
        frames={stem: frames[stem] for stem in reported},
        whole={"uSDR": {stem: _whole_sdr(references[stem], estimates[stem]) for stem in reported}},
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


def torch_frames(references: Audio, estimates: Audio, window: int, hop: int, device: str = "cpu") -> Frames:
    """SDR, ISR, SIR and SAR in dB by `projections`, computed on `device`; shapes as of `museval_frames`."""
    true, estimate = (torch.from_numpy(stems).to(device) for stems in (references, estimates))
    return bss_eval(true, estimate, window, hop).cpu().numpy()


EVALUATORS = {"torch": torch_frames, "museval": museval_frames}


def museval_json(scores: TrackScores, window_seconds: float, hop_seconds: float) -> str:
    """The track's scores in museval's JSON, text that `museval.EvalStore` and `museval.MethodStore` read.

    As in museval scores have five decimals and infinite ones are NaN.
    """
    targets = [
        {
            "name": stem,
            "frames": [
                {
                    "time": number * hop_seconds,
                    "duration": window_seconds,
                    "metrics": dict(zip(metrics, map(_five_decimals, frame), strict=True)),
                }
                for number, frame in enumerate(zip(*metrics.values(), strict=True))
            ],
        }
        for stem, metrics in scores.frames.items()
    ]
    return json.dumps({"targets": targets} | _museval_version(), indent=2)


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
            f"museval cannot be imported ({error}): install museval, ffmpeg and ffprobe, or set evaluator=torch"
        ) from error
    # museval 0.4.1 falls back to least squares on np.linalg.linalg.LinAlgError, a name that NumPy 2.4 dropped.
    if not hasattr(np.linalg, "linalg"):
        np.linalg.linalg = np.linalg  # type: ignore[attr-defined]
    return museval


def _sdr_frames(references: Audio, estimates: Audio, window: int, hop: int) -> Frames:
    values = windowed_sdr(torch.from_numpy(references), torch.from_numpy(estimates), window, hop, museval_nan=True)
    return values[:, None].numpy()


def _museval_version() -> dict[str, str]:
    try:
        return {"museval_version": metadata.version("museval")}
    except metadata.PackageNotFoundError:
        return {}


def _five_decimals(value: float) -> float:
    return round(float(value), 5) if np.isfinite(value) else np.nan


def _whole_sdr(reference: Audio, estimate: Audio) -> float:
    """uSDR in dB; NaN where there is nothing to separate, for the least leak would be tens of dB below 0 there."""
    return sdr(_tensor(reference), _tensor(estimate)).item() if reference.any() else float("nan")


def _silent(audio: NDArray[np.floating]) -> bool:
    # museval's own test: channels that cancel everywhere count as silence and would stop it with an error.
    return not np.any(audio.sum(axis=0))


def _tensor(audio: Audio) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(audio))
