"""Something to play to a model: music, since silence and noise may take other paths through it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.data.synthetic import synthesize

SHORTEST = 1.0  # s, of a synthetic song


def mixtures(batch: int, channels: int, seconds: float, rate: int) -> Tensor:
    """A synthetic song (b, c, t) at `rate` Hz, each example of the batch from another moment on."""
    song = np.sum(list(synthesize(0, max(seconds, SHORTEST), rate).values()), axis=0)
    song = song[:, : max(1, round(seconds * rate))]
    wide = np.stack([song[channel % len(song)] for channel in range(channels)])
    shifts = (example * wide.shape[1] // batch for example in range(batch))
    return torch.from_numpy(np.stack([np.roll(wide, shift, axis=1) for shift in shifts]).astype(np.float32))
