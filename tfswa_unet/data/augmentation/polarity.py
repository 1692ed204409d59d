"""Stems upside down."""

from __future__ import annotations

from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class Polarity(Augmentation):
    """Changes the sign of each chosen stem, which nobody hears until it meets the other stems.

    Shapes: (b, s, c, t) → the same.
    """

    def augment(self, stems: Tensor) -> Tensor:
        sign = 1 - 2 * self.chosen(*stems.shape[:2], 1, 1).to(stems)
        return stems * sign
