"""The one place where what a network puts out becomes stem spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.errors import unknown

# How many real maps each kind needs for each stem, channel and bin.
MASKS = {"sigmoid": 1, "softmax": 1, "complex": 2, "magnitude": 1, "spectrum": 2}


def mask_maps(kind: str) -> int:
    """Number of real maps that a mask of this kind needs for each stem, channel and bin.

    Raises:
        ConfigError: for a kind that is not in `MASKS`.
    """
    if kind not in MASKS:
        raise unknown("model.mask", kind, MASKS)
    return MASKS[kind]


def apply_mask(maps: Tensor, mixture: Tensor, scale: Tensor, kind: str, sums_to_mixture: bool) -> Tensor:
    """Turn network output into stem spectrograms, in float32.

    A network that puts out zeros splits the mixture into equal parts or halves, or, where it gives the stems themselves
    (`magnitude`, `spectrum`), puts out silence.

    Args:
        maps: network output (b, s, c, m, n, f) with m = `mask_maps(kind)`.
        mixture: complex spectrogram (b, c, n, f).
        scale: what the network saw the mixture divided by, (b,).
        kind: `sigmoid`, magnitudes in [0, 1] for each stem by itself; `softmax`, magnitudes in [0, 1] that sum to one
            over the stems; `complex`, an unbounded complex ratio; `magnitude`, the stems' magnitudes, which get the
            mixture's phase (the paper's, doi 10.1186/s13634-025-01249-0); `spectrum`, the stems' real and imaginary
            parts.
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
        return maps.squeeze(3).softmax(dim=1) * mixture[:, None]
    elif kind == "sigmoid":
        mask = maps.squeeze(3).sigmoid()
    else:
        return _given(maps, mixture, scale, kind, sums_to_mixture)
    if sums_to_mixture:
        mask = mask + (1 - mask.sum(dim=1, keepdim=True)) / stems
    return mask * mixture[:, None]


def _given(maps: Tensor, mixture: Tensor, scale: Tensor, kind: str, sums_to_mixture: bool) -> Tensor:
    """Stems from maps that are the stems themselves, at the level the network works at."""
    # An example of nothing but zeros gives zeros, whatever the network says.
    loud = torch.view_as_real(mixture).flatten(1).any(dim=1)
    maps = maps * (scale * loud)[:, None, None, None, None, None]
    if kind == "spectrum":
        stems = torch.complex(*maps.unbind(3))
    else:
        # A unit phase that has a value, not NaN, where the mixture is silent.
        stems = maps.squeeze(3).relu() * torch.sgn(mixture)[:, None]
    if sums_to_mixture:
        stems = stems + (mixture[:, None] - stems.sum(dim=1, keepdim=True)) / stems.shape[1]
    return stems
