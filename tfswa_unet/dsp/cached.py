"""Signals a few at a time, so that what is computed of them stays in the processor's caches."""

from __future__ import annotations

import torch
from torch import Tensor

CACHED = 2**17  # elements a thread


def pieces(signals: Tensor) -> list[slice]:
    """Slices of (signals, …) as large as a CPU's caches allow, one signal at least; elsewhere one slice of all."""
    if signals.device.type != "cpu":
        return [slice(None)]
    elements = max(1, signals.shape[1:].numel())
    at_once = max(1, CACHED * torch.get_num_threads() // elements)
    return [slice(i, i + at_once) for i in range(0, len(signals), at_once)]
