"""New songs from the batch's stems."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation


class Remix(Augmentation):
    """Shuffles each stem over the chosen examples of the batch, every stem in its own way.

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
