"""Stems in rooms."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.filters import fft_size, filtered

PRE_DELAY = 0.01  # s until the first echo


class Reverb(Augmentation):
    """Adds to each chosen stem the echo of a room of its own: noise that decays exponentially, other in each channel.

    The dry stem stays in place as it is (J. A. Moorer, doi:10.2307/3680280, of whose rooms this is the simplest).
    Shapes: (b, s, c, t) → the same; what rings beyond the end is cut off.

    Args:
        p: probability that a stem is changed.
        rt60_low: s until the driest room's echo has fallen by 60 dB.
        rt60_high: s, the most reverberant room's.
        wet_low: dB, the softest echo of a steady noise relative to that noise.
        wet_high: dB, the loudest echo.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: numbers out of order or range.
    """

    def __init__(
        self,
        p: float = 0.1,
        rt60_low: float = 0.2,
        rt60_high: float = 1.2,
        wet_low: float = -24.0,
        wet_high: float = -8.0,
        rate: int = 44_100,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator)
        self.rt60_low = self.within("rt60_low", rt60_low, 0.05)
        self.rt60_high = self.within("rt60_high", rt60_high, rt60_low, 20)
        self.wet_low = self.within("wet_low", wet_low, -100)
        self.wet_high = self.within("wet_high", wet_high, wet_low, 20)
        self.rate = int(self.within("rate", rate, 1))

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._reverberate)

    def _reverberate(self, stems: Tensor) -> Tensor:
        rooms = self._rooms(*stems.shape).to(stems)
        size = fft_size(stems.shape[-1] + rooms.shape[-1])
        return stems + filtered(stems, torch.fft.rfft(rooms, size), size)

    def _rooms(self, count: int, channels: int, length: int) -> Tensor:
        """Draw impulse responses (count, c, t), no longer than the stems are or the longest room rings."""
        rt60 = self.uniform(self.rt60_low, self.rt60_high, count, 1, 1)
        wet = 10 ** (self.uniform(self.wet_low, self.wet_high, count, 1, 1) / 20)
        time = torch.arange(min(length, math.ceil(self.rt60_high * self.rate)), device=rt60.device) / self.rate
        echo = self.noise(count, channels, len(time)) * 10 ** (-3 * time / rt60)
        energy = echo.square().sum(-1, keepdim=True)
        return pad(echo * wet / energy.sqrt(), (round(PRE_DELAY * self.rate), 0))
