"""Augmentations across stems and examples: remix, mixup, bleed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation


@AUGMENTATIONS.register("remix")
class Remix(Augmentation):
    """Permutation of each stem over the chosen examples of the batch, every stem independently.

    As in Demucs (arXiv:1911.13254), nothing is lost or doubled. Shapes: (b, s, c, t) → the same; a batch of one stays
    as it is.
    """

    def augment(self, stems: Tensor) -> Tensor:
        b, s = stems.shape[:2]
        chosen = self.chosen(b).nonzero().flatten()
        if len(chosen) < 2:
            return stems
        source = torch.arange(b, device=chosen.device)[:, None].repeat(1, s)
        source[chosen] = chosen[self.uniform(0, 1, len(chosen), s).argsort(0)]
        return stems[source.to(stems.device), torch.arange(s, device=stems.device)]


@AUGMENTATIONS.register("mixup")
class Mixup(Augmentation):
    """Mixup of each chosen example with another of the batch, stem by stem, as λ x + (1 − λ) y (arXiv:1710.09412).

    λ comes from Beta(alpha, alpha), one an example: the same for all its stems, so that their sum blends likewise.
    Shapes: (b, s, c, t) → the same; a batch of one stays as it is. Raises ConfigError for an alpha not above 0.
    """

    def __init__(self, *, p: float, alpha: float, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        self.alpha = self.within("alpha", alpha, 1e-3)

    def augment(self, stems: Tensor) -> Tensor:
        b = len(stems)
        # A rotation by 1 to b − 1 gives every example a partner other than itself.
        partner = torch.arange(b).roll(1 + int(self.uniform(0, max(b - 1, 1), 1)))
        weight = torch.where(self.chosen(b), self._weights(b), torch.ones(b)).to(stems).view(b, 1, 1, 1)
        return weight * stems + (1 - weight) * stems[partner.to(stems.device)]

    def _weights(self, count: int) -> Tensor:
        seed = int(self.uniform(0, 1, 1).double() * 2**24)  # torch's own Beta takes no generator
        return torch.from_numpy(np.random.default_rng(seed).beta(self.alpha, self.alpha, count)).float()


@AUGMENTATIONS.register("bleed")
class Bleed(Augmentation):
    """Microphone bleed: the sum of the example's other stems is added to each chosen stem.

    Its level is drawn from `low` to `high` dB. Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is
    below `low` or above 0.
    """

    def __init__(self, *, p: float, low: float, high: float, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        self.low = self.within("low", low, -120)
        self.high = self.within("high", high, low, 0)

    def augment(self, stems: Tensor) -> Tensor:
        shape = (*stems.shape[:2], 1, 1)
        level = 10 ** (self.uniform(self.low, self.high, *shape) / 20)
        chosen = self.chosen(*shape)
        if not chosen.any():
            return stems
        return stems + (level * chosen).to(stems) * (stems.sum(1, keepdim=True) - stems)
