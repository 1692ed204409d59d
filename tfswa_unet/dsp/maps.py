"""Between spectrograms and a network's real maps: the level to divide by, and subbands stacked as channels."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-5  # −100 dB full scale: a converter's last bit is not blown up to music


def level(waveform: Tensor) -> Tensor:
    """Root mean square of each example over channels and samples, at least `FLOOR`: (b, c, t) → (b,).

    Dividing by it brings music to unit level; silence stays silence exactly.
    """
    return waveform.float().square().mean(dim=(-2, -1)).sqrt().clamp_min(FLOOR)


def stack_subbands(maps: Tensor, subbands: int) -> Tensor:
    """Cut the bins into equal subbands and stack these as channels; the Nyquist bin is left out.

    Args:
        maps: (b, c, n, f) with f = subbands · width + 1.
        subbands: their number k.

    Returns:
        (b, c·k, n, width), the bands of one channel side by side.
    """
    b, c, n, f = maps.shape
    width = (f - 1) // subbands
    bands = maps[..., : width * subbands].unflatten(-1, (subbands, width))
    return bands.transpose(2, 3).reshape(b, c * subbands, n, width)


def unstack_subbands(maps: Tensor, subbands: int) -> Tensor:
    """Invert `stack_subbands`; the Nyquist bin repeats its lower neighbour.

    Args:
        maps: (b, c·k, n, width).
        subbands: their number k.

    Returns:
        (b, c, n, k·width + 1).
    """
    b, ck, n, _ = maps.shape
    bands = maps.unflatten(1, (ck // subbands, subbands)).transpose(2, 3).reshape(b, ck // subbands, n, -1)
    return torch.cat([bands, bands[..., -1:]], dim=-1)
