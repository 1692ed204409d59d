"""Two examples in one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class Mixup(Augmentation):
    """Blends each chosen example with another of the batch, stem by stem, as λ x + (1 − λ) y (arXiv:1710.09412).

    λ comes from Beta(alpha, alpha), one an example: the same for all its stems, so that their sum blends likewise.
    Shapes: (b, s, c, t) → the same; a batch of one stays as it is. Raises ConfigError for an alpha not above 0.
    """

    def __init__(self, p: float = 0.2, alpha: float = 0.4, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator)
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
