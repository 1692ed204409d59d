"""Whether anything can be heard."""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 15  # samples


def is_below(audio: np.ndarray, level: float) -> bool:
    """Say whether the RMS of audio (c, t), float32, over all of it lies below a level in dB full scale."""
    limit, energy = 10 ** (level / 10) * audio.size, 0.0
    for channel in audio:
        for start in range(0, len(channel), BLOCK):
            block = channel[start : start + BLOCK]
            energy += float(np.dot(block, block))
            # What is not silent is mostly known from its first block.
            if energy >= limit:
                return False
    return True
