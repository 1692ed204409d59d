"""The one place where what a network puts out becomes stem spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.errors import unknown

MASKS = ("sigmoid", "softmax", "complex")


def mask_maps(kind: str) -> int:
    """Number of real maps that a mask of this kind needs for each stem, channel and bin.

    Raises:
        ConfigError: for a kind that is not in `MASKS`.
    """
    if kind not in MASKS:
        raise unknown("model.mask", kind, MASKS)
    return 2 if kind == "complex" else 1


def apply_mask(maps: Tensor, mixture: Tensor, kind: str, sums_to_mixture: bool) -> Tensor:
    """Turn network output into stem spectrograms, in float32.

    Whatever the kind, a network that puts out zeros splits the mixture into equal parts or halves.

    Args:
        maps: network output (b, s, c, m, n, f) with m = `mask_maps(kind)`.
        mixture: complex spectrogram (b, c, n, f).
        kind: `sigmoid`, magnitudes in [0, 1] for each stem by itself; `softmax`, magnitudes in [0, 1] that sum to one
            over the stems; `complex`, an unbounded complex ratio.
        sums_to_mixture: spread what the stems leave of the mixture equally over them; for stems that cover it.

    Returns:
        complex stem spectrograms (b, s, c, n, f).
    """
    maps = maps.float()
    stems = maps.shape[1]
    if kind == "complex":
        real, imaginary = maps.unbind(3)
        mask = torch.complex(real + 1 / stems, imaginary)
    elif kind == "softmax":
        mask = maps.squeeze(3).softmax(dim=1)
    else:
        mask = maps.squeeze(3).sigmoid()
    if sums_to_mixture and kind != "softmax":
        mask = mask + (1 - mask.sum(dim=1, keepdim=True)) / stems
    return mask * mixture[:, None]
