"""How loud people find a sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.filters import fft_size, filtered, high_pass, high_shelf, response

OFFSET = -0.691  # dB, brings a sine of 1 kHz at full scale in one channel to −3.01
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # dB below the mean of what passes the absolute gate
RINGING = 0.1  # s


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
    """The K curve: a shelf for the head in the sound field, and a high-pass."""
    head, rumble = torch.tensor([1_500.0, 38.0], device=device)
    shelf = high_shelf(torch.tensor(4.0, device=device), torch.tensor(math.sqrt(0.5), device=device))
    lows = high_pass(torch.tensor(0.5, device=device))
    return response(shelf, head, rate, size) * response(lows, rumble, rate, size)


def _decibels(energy: Tensor) -> Tensor:
    return OFFSET + 10 * energy.log10()


def _mean(blocks: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, blocks, 0).sum(-1) / kept.sum(-1).clamp_min(1)
