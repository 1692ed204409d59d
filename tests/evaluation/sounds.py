"""Made-up stems."""

from __future__ import annotations

import numpy as np

RATE = 8000


def noise(seed: int, seconds: float, level: float = 0.1, rate: int = RATE) -> np.ndarray:
    """Stereo noise (c, t) with a slow rise and fall, so that windows differ."""
    t = round(seconds * rate)
    swell = 0.6 + 0.4 * np.sin(np.arange(t) / rate * 2.1 + seed)
    return (level * swell * np.random.default_rng(seed).standard_normal((2, t))).astype(np.float32)
