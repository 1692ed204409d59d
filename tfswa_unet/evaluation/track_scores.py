"""The scores of one track's stems, window by window, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("SDR", "ISR", "SIR", "SAR")
Frames = NDArray[np.float64]


@dataclass(frozen=True)
class TrackScores:
    """Scores of one track by one method.

    `frames[stem][metric]` holds a window's score in dB each; `left_out` names stems whose reference or estimate is
    silent from end to end: BSSEval is not defined there and all their frames are NaN.
    """

    track: str
    frames: Mapping[str, Mapping[str, Frames]]
    usdr: Mapping[str, float]  # dB over the whole track
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, NaN and infinities as strings so that they come back as they were."""
        return {
            "track": self.track,
            "frames": {
                stem: {metric: [_plain(value) for value in values] for metric, values in metrics.items()}
                for stem, metrics in self.frames.items()
            },
            "uSDR": dict(self.usdr),
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrackScores:
        """Read what `to_dict` wrote; raises KeyError, TypeError or ValueError on anything else."""
        frames = {
            stem: {metric: np.array([float(value) for value in row]) for metric, row in metrics.items()}
            for stem, metrics in values["frames"].items()
        }
        return cls(values["track"], frames, dict(values["uSDR"]), tuple(values["left_out"]))


def _plain(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))
