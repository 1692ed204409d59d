"""What can be wrong with a file's samples, said the same way wherever it is met."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfswa_unet.errors import AudioError


def check_finite(audio: np.ndarray, path: Path, start: int, rate: int) -> None:
    """Refuse NaN and infinity in audio (c, t) that begins at sample `start` of `path`; rate in Hz.

    Raises:
        AudioError: how many samples are not finite, and where the first one lies in s.
    """
    # The extremes carry any NaN or infinity and need no mask of the whole array.
    if audio.size == 0 or (np.isfinite(audio.min()) and np.isfinite(audio.max())):
        return
    bad = ~np.isfinite(audio)
    first = start + int(np.argmax(bad.any(axis=0)))
    count = int(bad.sum())
    raise AudioError(
        f"{path}: {count} {'sample is' if count == 1 else 'samples are'} NaN or infinite, the first at "
        f"{first / rate:.3f} s (sample {first}), where finite numbers are expected: repair or export it again"
    )


def truncated(path: Path, decoded: int, announced: int, rate: int) -> AudioError:
    """Say that a file ends, or breaks, before the length that it announces; lengths in samples, rate in Hz."""
    return AudioError(
        f"{path}: decoded {decoded / rate:.2f} s of {announced / rate:.2f} s announced: "
        "the file is cut short or damaged, fetch or export it again"
    )
