"""Spans of neighbouring bins or frames to mask."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


def spans(augmentation: Augmentation, count: int, size: int, longest: int) -> Tensor:
    """Draw `count` masks (count, size), each True over one span of 1 to `longest` neighbours anywhere inside."""
    width = 1 + augmentation.uniform(0, min(longest, size), count, 1).floor()
    width = width.clamp(max=min(longest, size))
    first = (augmentation.uniform(0, 1, count, 1) * (size - width + 1)).floor()
    place = torch.arange(size, device=width.device)
    return (place >= first) & (place < first + width)
