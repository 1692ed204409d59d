"""Augmentations of level: gain, polarity, channel swap, loudness."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation
from tfswa_unet.data.augmentation.effects import fft_size, filtered, high_pass, high_shelf, response

OFFSET = -0.691  # dB, brings a sine of 1 kHz at full scale in one channel to −3.01
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # dB below the mean of what passes the absolute gate
RINGING = 0.1  # s


@AUGMENTATIONS.register("gain")
class Gain(Augmentation):
    """Random gain of each chosen stem: a factor drawn uniformly from `low` to `high`.

    Shapes: (b, s, c, t) → the same. Raises ConfigError where `high` is below `low` or `low` below 0.
    """

    def __init__(self, *, p: float, low: float, high: float, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        self.low = self.within("low", low, 0)
        self.high = self.within("high", high, low)

    def augment(self, stems: Tensor) -> Tensor:
        shape = (*stems.shape[:2], 1, 1)
        factors = self.uniform(self.low, self.high, *shape)
        factors = torch.where(self.chosen(*shape), factors, torch.ones_like(factors))
        return stems * factors.to(stems)


@AUGMENTATIONS.register("polarity")
class Polarity(Augmentation):
    """Polarity inversion of each chosen stem, which is heard only in the sum with other stems.

    Shapes: (b, s, c, t) → the same.
    """

    def augment(self, stems: Tensor) -> Tensor:
        sign = 1 - 2 * self.chosen(*stems.shape[:2], 1, 1).to(stems)
        return stems * sign


@AUGMENTATIONS.register("channel_swap")
class ChannelSwap(Augmentation):
    """Reversed channel order of each chosen stem: left and right are swapped.

    Shapes: (b, s, c, t) → the same; mono stays as it is.
    """

    def augment(self, stems: Tensor) -> Tensor:
        b, s, c = stems.shape[:3]
        chosen = self.chosen(b, s, 1).to(stems.device)
        b_, s_, c_ = (torch.arange(size, device=stems.device) for size in (b, s, c))
        # One copy of whole channels, where choosing between two tensors would read both.
        return stems[b_[:, None, None], s_[:, None], torch.where(chosen, c_.flip(0), c_)]


@AUGMENTATIONS.register("loudness")
class Loudness(Augmentation):
    """Loudness of each chosen stem set to the mean of its example's audible stems, plus or minus up to `spread` dB.

    Loudness is that of ITU-R BS.1770, see `lufs`. Stems below `floor` LUFS count as silent and stay as they are, so
    that no noise is blown up to music. Shapes: (b, s, c, t) → the same; `rate` is in Hz. Raises ConfigError for a
    spread or floor out of range.
    """

    def __init__(
        self, *, p: float, spread: float, floor: float, rate: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.spread = self.within("spread", spread, 0, 40)
        self.floor = self.within("floor", floor, -70, 0)
        self.rate = self.within("rate", rate, 100)

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


def lufs(waveform: Tensor, rate: int) -> Tensor:
    """Measure integrated loudness, gated and K-weighted as in Recommendation ITU-R BS.1770-4.

    torchaudio's `loudness` gives the same numbers by recursive filters; this one needs two FFTs, on any device.

    Args:
        waveform: (..., c, t), channels that all count alike: mono, stereo, or left, right and centre.
        rate: sample rate in Hz.

    Returns:
        LUFS (...), −∞ where nothing passes the absolute gate; less than 400 ms are taken as one block.
    """
    size = fft_size(waveform.shape[-1] + round(RINGING * rate))
    energy = filtered(waveform, _weighting(rate, size, waveform.device), size).square().sum(-2)
    block = min(round(0.4 * rate), energy.shape[-1])
    blocks = energy.unfold(-1, block, max(1, round(0.1 * rate))).mean(-1)
    loud = _decibels(blocks) > ABSOLUTE_GATE
    gate = _decibels(_mean(blocks, loud)) + RELATIVE_GATE
    return _decibels(_mean(blocks, loud & (_decibels(blocks) > gate[..., None])))


def _weighting(rate: int, size: int, device: torch.device) -> Tensor:
    """The K-weighting: a high shelf for the head and a high-pass."""
    head, rumble = torch.tensor([1_500.0, 38.0], device=device)
    shelf = high_shelf(torch.tensor(4.0, device=device), torch.tensor(math.sqrt(0.5), device=device))
    lows = high_pass(torch.tensor(0.5, device=device))
    return response(shelf, head, rate, size) * response(lows, rumble, rate, size)


def _decibels(energy: Tensor) -> Tensor:
    return OFFSET + 10 * energy.log10()


def _mean(blocks: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, blocks, 0).sum(-1) / kept.sum(-1).clamp_min(1)
