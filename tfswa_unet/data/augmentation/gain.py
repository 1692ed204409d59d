"""Louder and softer stems."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class Gain(Augmentation):
    """Multiplies each chosen stem by its own factor, drawn evenly from `low` to `high`.

    Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is below `low` or `low` below 0.
    """

    def __init__(
        self, p: float = 0.5, low: float = 0.7, high: float = 1.3, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator)
        self.low = self.within("low", low, 0)
        self.high = self.within("high", high, low)

    def augment(self, stems: Tensor) -> Tensor:
        shape = (*stems.shape[:2], 1, 1)
        factors = self.uniform(self.low, self.high, *shape)
        factors = torch.where(self.chosen(*shape), factors, torch.ones_like(factors))
        return stems * factors.to(stems)
