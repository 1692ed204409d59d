"""Another tone."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.filters import fft_size, filtered, high_shelf, low_shelf, peaking, response

RINGING = 0.25  # s that the lowest and narrowest band rings for, to below −90 dB


class Equaliser(Augmentation):
    """Sends each chosen stem through filters of its own: peaks, low shelves and high shelves, as chance has it.

    They sound as a mixing desk's do (minimum phase), see `filters`. Shapes: (b, s, c, t) → the same.

    Args:
        p: probability that a stem is changed.
        bands: filters in a row.
        gain: dB, the most that one raises or lowers its band.
        low: Hz, the lowest centre; centres are spread evenly over octaves.
        high: Hz, the highest centre.
        q_low: the widest band's Q.
        q_high: the narrowest band's Q.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: numbers out of order, or centres above half the sample rate.
    """

    def __init__(
        self,
        p: float = 0.3,
        bands: int = 3,
        gain: float = 6.0,
        low: float = 60.0,
        high: float = 10_000.0,
        q_low: float = 0.5,
        q_high: float = 2.0,
        rate: int = 44_100,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator)
        self.bands = int(self.within("bands", bands, 1, 20))
        self.gain = self.within("gain", gain, 0, 40)
        self.rate = int(self.within("rate", rate, 1))
        self.low = self.within("low", low, 20)
        self.high = self.within("high", high, low, rate / 2)
        self.q_low = self.within("q_low", q_low, 0.1)
        self.q_high = self.within("q_high", q_high, q_low, 4)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen_stems(stems, self._equalise)

    def _equalise(self, stems: Tensor) -> Tensor:
        sections, centres = (each.to(stems.device) for each in self._filters(len(stems)))
        size = fft_size(stems.shape[-1] + round(RINGING * self.rate))
        curve = response(sections[0], centres[0], self.rate, size)
        for section, centre in zip(sections[1:], centres[1:], strict=True):
            curve = curve * response(section, centre, self.rate, size)
        return filtered(stems, curve[:, None], size)

    def _filters(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw sections (bands, count, 2, 3) and their centres (bands, count) in Hz."""
        shape = self.bands, count
        gain, q = self.uniform(-self.gain, self.gain, *shape), self.uniform(self.q_low, self.q_high, *shape)
        kinds = torch.stack([peaking(gain, q), low_shelf(gain, q), high_shelf(gain, q)])
        kind = self.uniform(0, 3, *shape).long()[None, ..., None, None].expand(1, *kinds.shape[1:])
        return kinds.gather(0, kind)[0], self.low * (self.high / self.low) ** self.uniform(0, 1, *shape)
