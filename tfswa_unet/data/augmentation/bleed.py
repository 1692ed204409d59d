"""A drum in the singer's microphone."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class Bleed(Augmentation):
    """Adds to each chosen stem the sum of the example's other stems, at a level drawn from `low` to `high` dB.

    Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is below `low` or above 0.
    """

    def __init__(
        self, p: float = 0.1, low: float = -40.0, high: float = -20.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator)
        self.low = self.within("low", low, -120)
        self.high = self.within("high", high, low, 0)

    def augment(self, stems: Tensor) -> Tensor:
        shape = (*stems.shape[:2], 1, 1)
        level = 10 ** (self.uniform(self.low, self.high, *shape) / 20)
        chosen = self.chosen(*shape)
        if not chosen.any():
            return stems
        return stems + (level * chosen).to(stems) * (stems.sum(1, keepdim=True) - stems)
