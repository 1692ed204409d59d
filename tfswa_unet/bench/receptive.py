"""How far around a point of its output a model sees, measured by a gradient."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet.dsp import unstack_subbands

EFFECTIVE = 1e-6  # of the largest gradient


def receptive_field(model: Any, seconds: float = 1.0) -> dict[str, float | bool]:
    """What one point of the first stem's spectrogram, in the middle of a segment, depends on.

    From the first to the last sample, and from the lowest to the highest frequency, at which the gradient of its energy
    is not zero; the effective field ends where it is below 1e-6 of its maximum, which training changes. Source of the
    distinction: arXiv 1701.04128.

    Time is read at the waveform. The level that the model divides it by depends on every sample whatever the network
    sees, and adds to the gradient a multiple of the waveform; so this is silent at every other sample, which is where
    the gradient is read. Frequency is read at the maps (b, c·k, n, f) that the model, in eval mode, gives its network.
    No window leaks there. Branches of a fresh network, which begin at zero, are given weights for it.
    """
    model = _opened(model)
    shape = (1, model.channels, 2 * max(1, round(seconds * model.rate / 2)))
    mixture = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mixture[..., 1::2] = 0
    mixture.requires_grad_()
    maps: list[Tensor] = []
    handle = model.network.register_forward_pre_hook(lambda _, inputs: maps.extend(inputs))
    try:
        spectra = model.spectra(mixture)
    finally:
        handle.remove()
    # Not the middle of the band: there, the silent samples leave a phase at which they have no gradient.
    frame, bin_ = spectra.shape[-2] // 2, spectra.shape[-1] // 3
    energy = torch.view_as_real(spectra[:, 0, :, frame, bin_]).square().sum()
    gradient, *seen = torch.autograd.grad(energy, [mixture, *maps])

    heard = gradient.abs().amax(dim=(0, 1))[1::2]
    top = model.rate / 2
    subbands = (spectra.shape[-1] - 1) // maps[0].shape[-1]
    own = bin_ / (spectra.shape[-1] - 1) * top
    bins = [unstack_subbands(sizes.abs(), subbands)[..., :-1].amax(dim=(0, 1, 2)) for sizes in seen]
    low, high = _band(bins, own, top, 0.0)
    effective_low, effective_high = _band(bins, own, top, EFFECTIVE)
    return {
        "segment_seconds": mixture.shape[-1] / model.rate,
        "seconds": 2 * len(_reach(heard, 0.0)) / model.rate,
        "fills_segment": len(_reach(heard, 0.0)) == len(heard),
        "effective_seconds": 2 * len(_reach(heard, EFFECTIVE)) / model.rate,
        "hertz": high - low,
        "fills_band": low == 0 and high == top,
        "effective_hertz": effective_high - effective_low,
    }


def _opened(model: Any) -> Any:
    """A copy of a model in which no linear layer is zero."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.1)
    return model


def _band(bins: list[Tensor], own: float, top: float, threshold: float) -> tuple[float, float]:
    """From the lowest to the highest frequency in Hz among `own` and the bins (f), from 0 to `top`, that count."""
    low, high = own, own
    for sizes in bins:
        reach = _reach(sizes, threshold)
        if reach:
            width = top / len(sizes)
            low, high = min(low, reach[0] * width), max(high, (reach[-1] + 1) * width)
    return low, high


def _reach(sizes: Tensor, threshold: float) -> range:
    """From the first to the last position above `threshold` times the largest."""
    above = (sizes > threshold * sizes.max()).nonzero()
    return range(int(above[0]), int(above[-1]) + 1) if len(above) else range(0)
