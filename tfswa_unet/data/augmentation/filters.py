"""Second-order filters by their frequency responses, applied by FFT: as fast on any device as its FFT is.

The sections are the analogue prototypes of R. Bristow-Johnson's Audio EQ Cookbook
(https://www.w3.org/TR/audio-eq-cookbook/). Their bilinear transforms are the digital filters; evaluated directly they
stay exact at low frequencies in float32.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

# tan of half the frequency has no value at half the sample rate; from here on the response is what it is there.
BEYOND = 1e6


def peaking(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level around their centre by `gain` dB, as wide as `q` is low."""
    a, one = 10 ** (gain / 40), torch.ones_like(gain)
    return _section(one, a / q, one, one, 1 / (a * q), one)


def low_shelf(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level below their centre by `gain` dB."""
    a = 10 ** (gain / 40)
    slope = a.sqrt() / q
    return _section(a * a, a * slope, a, torch.ones_like(a), slope, a)


def high_shelf(gain: Tensor, q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that change the level above their centre by `gain` dB."""
    a = 10 ** (gain / 40)
    slope = a.sqrt() / q
    return _section(a, a * slope, a * a, a, slope, torch.ones_like(a))


def high_pass(q: Tensor) -> Tensor:
    """Return sections (..., 2, 3) that let pass what lies above their centre."""
    zero, one = torch.zeros_like(q), torch.ones_like(q)
    return _section(zero, zero, one, one, 1 / q, one)


def response(section: Tensor, centre: Tensor, rate: float, size: int) -> Tensor:
    """Evaluate digital filters at the bins of a real FFT of `size` samples.

    Args:
        section: numerator and denominator in powers 0, 1, 2 of s / centre, (..., 2, 3).
        centre: Hz, (...).
        rate: sample rate in Hz.
        size: samples of the FFT.

    Returns:
        complex (..., f), f = size // 2 + 1.
    """
    angle = torch.arange(size // 2 + 1, device=section.device) * (math.pi / size)
    s = (angle.tan() / torch.tan(math.pi / rate * centre)[..., None]).abs().clamp(max=BEYOND)[..., None, :]
    constant, first, second = section[..., None].unbind(-2)
    numerator, denominator = torch.complex(constant - second * s.square(), first * s).unbind(-2)
    return numerator / denominator


def fft_size(length: int) -> int:
    """Return the next number of samples from `length` on that an FFT is fast at."""
    return int(next_fast_len(length, real=True))


def filtered(waveform: Tensor, spectrum: Tensor, size: int) -> Tensor:
    """Convolve waveforms (..., t) with a filter given by its real FFT of `size` samples (..., f) → (..., t).

    `size` must leave room behind t for the filter to ring in, for what goes beyond comes back at the start.
    """
    return torch.fft.irfft(torch.fft.rfft(waveform, size) * spectrum, size)[..., : waveform.shape[-1]]


def _section(*coefficients: Tensor) -> Tensor:
    return torch.stack(coefficients, -1).unflatten(-1, (2, 3))
