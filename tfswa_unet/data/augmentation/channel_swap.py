"""Left for right."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class ChannelSwap(Augmentation):
    """Reverses the order of the channels of each chosen stem.

    Shapes: (b, s, c, t) → the same; mono stays as it is.
    """

    def augment(self, stems: Tensor) -> Tensor:
        chosen = self.chosen(*stems.shape[:2], 1, 1).to(stems.device)
        return torch.where(chosen, stems.flip(2), stems)
