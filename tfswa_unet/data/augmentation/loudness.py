"""Stems that are balanced by ear, then by chance."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.lufs import lufs


class Loudness(Augmentation):
    """Brings each chosen stem to the mean loudness of its example's audible stems, give or take up to `spread` dB.

    Loudness is that of ITU-R BS.1770, see `lufs`. Stems below `floor` LUFS count as silent and stay as they are, so
    that no noise is blown up to music. Shapes: (b, s, c, t) → the same; `rate` is in Hz. Raises ConfigError for a
    spread or floor out of range.
    """

    def __init__(
        self,
        p: float = 0.2,
        spread: float = 6.0,
        floor: float = -50.0,
        rate: int = 44_100,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator)
        self.spread = self.within("spread", spread, 0, 40)
        self.floor = self.within("floor", floor, -70, 0)
        self.rate = int(self.within("rate", rate, 100))

    def augment(self, stems: Tensor) -> Tensor:
        moves = self.uniform(-self.spread, self.spread, *stems.shape[:2])
        chosen = self.chosen(*stems.shape[:2])
        examples = chosen.any(1).nonzero().flatten()
        if not len(examples):
            return stems
        moves, chosen, examples = (each.to(stems.device) for each in (moves, chosen, examples))
        loudness = lufs(stems[examples], self.rate)
        audible = loudness > self.floor
        mean = torch.where(audible, loudness, 0).sum(1, keepdim=True) / audible.sum(1, keepdim=True).clamp_min(1)
        change = torch.where(audible & chosen[examples], mean + moves[examples] - loudness, 0)
        factors = torch.ones_like(stems[:, :, 0, 0]).index_copy(0, examples, 10 ** (change / 20))
        return stems * factors[..., None, None]
