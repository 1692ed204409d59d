"""Filterbank of the ear: how much of each frequency bin a place on the basilar membrane hears."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

LOWEST = 30.0  # Hz, the lowest band's centre
ORDER = 4  # of gammatone filters
BREADTH = 1.019  # of their bandwidth parameter, in equivalent rectangular bandwidths


def auditory_bands(spectrum: Tensor, rate: int, bands: int) -> Tensor:
    """Power in auditory bands, where a full-scale sine has about 1 in the band that hears it best.

    The bands' centres are evenly spaced on the scale of equivalent rectangular bandwidths from 30 Hz to half of
    `rate`; each weighs bins by the power response of a gammatone filter of order 4.

    Args:
        spectrum: complex (..., n, f) of a Hann window.
        rate: Hz.
        bands: number k of them.

    Returns:
        (..., n, k).

    Source: doi:10.1016/0378-5955(90)90170-T (bandwidths); Patterson and others, "An efficient auditory filterbank based
    on the gammatone function", 1987.
    """
    n_fft = 2 * (spectrum.shape[-1] - 1)
    power = torch.view_as_real(spectrum).square().sum(-1)
    return power @ _filters(n_fft, rate, bands).to(power)


def erb(hertz: np.ndarray) -> np.ndarray:
    """Equivalent rectangular bandwidth of the auditory filter centred at a frequency, both in Hz."""
    return 24.7 * (4.37e-3 * hertz + 1)


@lru_cache(maxsize=8)
def _filters(n_fft: int, rate: int, bands: int) -> Tensor:
    """Weights (f, k) of bins in bands."""
    steps = np.linspace(_erb_number(LOWEST), _erb_number(rate / 2), bands)
    centres = (10 ** (steps / 21.4) - 1) / 4.37e-3
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    response = (1 + ((bins[:, None] - centres) / (BREADTH * erb(centres))) ** 2) ** -ORDER
    # A sine under a Hann window has 3/2 of its peak bin's power in all bins together.
    return torch.from_numpy(response / (1.5 * (n_fft / 4) ** 2))


def _erb_number(hertz: float) -> float:
    return float(21.4 * np.log10(4.37e-3 * hertz + 1))
