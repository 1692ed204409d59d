"""Slow signals: drawn once every HOP samples, smoothed there, then interpolated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import lfilter

HOP = 64  # samples between two points of a control signal


def points(length: int) -> int:
    """Control points that cover `length` samples, the right end included."""
    return length // HOP + 2


def smooth(control: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    """Round off steps (…, t at the control rate) over about `seconds` by two equal one-pole low-passes."""
    pole = float(np.exp(-2 * HOP / (max(seconds, 1e-4) * rate)))
    b, a = np.array([1 - pole]), np.array([1, -pole])
    rest = control[..., :1] * pole  # the filter starts settled on its first value
    for _ in range(2):
        control, _ = lfilter(b, a, control, zi=rest)
    return control


def upsample(control: np.ndarray, length: int) -> np.ndarray:
    """Interpolate control points linearly to `length` samples; float32 (t,)."""
    control = control.astype(np.float32)
    ramp = np.arange(HOP, dtype=np.float32) / HOP
    line = control[:-1, None] + np.diff(control)[:, None] * ramp
    return line.reshape(-1)[:length]


def place(bus: np.ndarray, sound: np.ndarray, start: int, gain: float = 1.0) -> None:
    """Add a sound to a bus (…, t) at a sample; what lies outside the bus is dropped."""
    skip = max(0, -start)
    size = min(sound.shape[-1] - skip, bus.shape[-1] - start - skip)
    if size > 0:
        at = start + skip
        bus[..., at : at + size] += sound[..., skip : skip + size] * np.float32(gain)


def cut(sound: np.ndarray, length: int, release: int) -> np.ndarray:
    """The first `length` samples of a sound (t,), faded out over its last `release` samples."""
    sound = sound[:length].copy()
    size = min(release, len(sound))
    if size:
        sound[-size:] *= _fall(size)
    return sound


@lru_cache(maxsize=16)
def _fall(size: int) -> np.ndarray:
    return np.cos(np.linspace(0, np.pi / 2, size, dtype=np.float32)) ** 2
