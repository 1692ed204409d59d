"""An amplifier driven too hard."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation

FLOOR = 1e-9  # of a level to divide by: silence stays silence


class Distortion(Augmentation):
    """Clips each chosen stem softly, tanh(drive · x / peak), and brings it back to the level (RMS) it had.

    The drive is drawn from `low` to `high` dB, one a stem: 0 dB rounds the highest peaks, 20 dB flattens most of them.
    Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is below `low`.
    """

    def __init__(
        self, p: float = 0.1, low: float = 0.0, high: float = 15.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator)
        self.low = self.within("low", low, -40)
        self.high = self.within("high", high, low, 60)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._distort)

    def _distort(self, stems: Tensor) -> Tensor:
        drive = 10 ** (self.uniform(self.low, self.high, len(stems), 1, 1) / 20)
        peak = stems.abs().amax((-2, -1), keepdim=True).clamp_min(FLOOR)
        bent = torch.tanh(stems * (drive.to(stems) / peak))
        return bent * (_rms(stems) / _rms(bent).clamp_min(FLOOR))


def _rms(stems: Tensor) -> Tensor:
    return stems.square().mean((-2, -1), keepdim=True).sqrt()
