"""Faster and slower songs."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.phase_vocoder import fit, stretch


class TimeStretch(Augmentation):
    """Changes the tempo of each chosen example by a rate drawn from `low` to `high`, not its pitch.

    One rate for all stems of an example with `together`, else one a stem. What is too long is cut off, what is too
    short ends in zeros. Only the chosen examples are computed, one by one, which bounds the memory; each costs about
    four times an STFT and its inverse, by far more than the augmentations that only scale or swap.

    Shapes: (b, s, c, t) → the same. Raises ConfigError for rates out of order or not above 0.
    """

    in_workers = True

    def __init__(
        self,
        p: float = 0.2,
        low: float = 0.9,
        high: float = 1.1,
        together: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator)
        self.low = self.within("low", low, 0.25)
        self.high = self.within("high", high, low, 4)
        self.together = together

    def augment(self, stems: Tensor) -> Tensor:
        groups = stems if self.together else stems.flatten(0, 1)
        rates = self.uniform(self.low, self.high, len(groups)).tolist()
        chosen = self.chosen(len(groups)).nonzero().flatten().tolist()
        if not chosen:
            return stems
        groups = groups.clone()
        for i in chosen:
            groups[i] = fit(stretch(groups[i], rates[i]), stems.shape[-1])
        return groups.view_as(stems)
