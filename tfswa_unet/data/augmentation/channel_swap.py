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
        b, s, c = stems.shape[:3]
        chosen = self.chosen(b, s, 1).to(stems.device)
        b_, s_, c_ = (torch.arange(size, device=stems.device) for size in (b, s, c))
        # One copy of whole channels, where choosing between two tensors would read both.
        return stems[b_[:, None, None], s_[:, None], torch.where(chosen, c_.flip(0), c_)]
