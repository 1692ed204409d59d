"""What a score is read against: the mixture itself below, an ideal ratio mask above. No network is involved."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tfswa_unet.dsp import istft, stft

Audio = NDArray[np.float32]
Stems = Mapping[str, Audio]

N_FFT = 2048
HOP = 512
ALPHA = 1.0
# Whole songs in blocks, so that memory does not grow with the song; a multiple of the hop keeps the frames' grid.
BLOCK = 1024 * HOP


def mixture_as_estimate(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Give the mixture (c, t) as the estimate of every stem: what doing nothing scores."""
    return dict.fromkeys(targets, mixture)


def ideal_ratio_mask(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Separate with the ratio of the true magnitudes: what a mask with the mixture's phase can reach.

    Each stem is the mixture's STFT times |S|^α / Σ |S|^α, every channel by itself; Hann window of 2048, hop 512.
    α = 1 is the ratio of magnitudes, IRM1 of SiSEC 2018; the oracle script of that campaign takes α = 2, the ratio of
    powers, with hop 1024 unless told otherwise.

    Args:
        mixture: (c, t).
        targets: the true stems, each (c, t), which together make the mixture.

    Returns:
        stems (c, t) under the names of `targets`.

    Source: doi:10.1007/978-3-319-93764-9_28.
    """
    length = mixture.shape[-1]
    stacked = np.stack(list(targets.values()))
    estimate = np.empty_like(stacked)
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        # Frames that reach into the block need samples up to one window length beyond it.
        low, high = max(0, start - N_FFT), min(length, stop + N_FFT)
        masked = _mask(torch.from_numpy(mixture[:, low:high]), torch.from_numpy(stacked[..., low:high]))
        estimate[..., start:stop] = masked.numpy()[..., start - low : stop - low]
    return dict(zip(targets, estimate, strict=True))


def _mask(mixture: Tensor, targets: Tensor) -> Tensor:
    weights = stft(targets, N_FFT, HOP).abs() ** ALPHA
    mask = weights / (weights.sum(0) + torch.finfo(weights.dtype).tiny)
    return istft(mask * stft(mixture, N_FFT, HOP), N_FFT, HOP, mixture.shape[-1])


REFERENCES: dict[str, Callable[[Audio, Stems], dict[str, Audio]]] = {
    "mixture": mixture_as_estimate,
    "irm": ideal_ratio_mask,
}
