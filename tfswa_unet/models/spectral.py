"""A network that sees spectrograms, wrapped to take and give waveforms."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet.dsp import apply_mask, istft, level, mask_maps, stack_subbands, stft, unstack_subbands
from tfswa_unet.models.config import ModelConfig


class SpectralModel(nn.Module):
    """Waveform → STFT → subbands → network → masks → ISTFT.

    Calling it maps mixtures (b, c, t) to stems (b, s, c, t), s in the order of `stems`; silence gives silence exactly.

    Args:
        config: the signal chain, and what the network is made of.
        network: maps (b, `config.maps_in`, n, f) → (b, `config.maps_out`, n, f), for any n.
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__()
        self.model_config = config
        self.network = network

    @property
    def stems(self) -> tuple[str, ...]:
        return tuple(self.model_config.stems)

    @property
    def rate(self) -> int:
        return self.model_config.rate

    @property
    def channels(self) -> int:
        return self.model_config.channels

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain values, so that `build(model.config)` makes the same model."""
        return asdict(self.model_config)

    def forward(self, mixture: Tensor) -> Tensor:
        c = self.model_config
        return istft(self.spectra(mixture), c.n_fft, c.hop, mixture.shape[-1])

    def spectra(self, mixture: Tensor) -> Tensor:
        """Stem spectrograms (b, s, c, n, f), complex, of mixtures (b, c, t); training reads its losses off these."""
        c = self.model_config
        spectrum = stft(mixture, c.n_fft, c.hop)
        scale = level(mixture)
        scaled = spectrum / scale[:, None, None, None]
        maps = self.network(stack_subbands(self._features(scaled), c.subbands))
        full = unstack_subbands(maps, c.subbands)
        masks = full.unflatten(1, (len(c.stems), c.channels, mask_maps(c.mask)))
        return apply_mask(masks, spectrum, scale, c.mask, c.sums_to_mixture)

    def _features(self, spectrum: Tensor) -> Tensor:
        """Real maps (b, c·m, n, f) of a spectrogram (b, c, n, f) whose magnitudes follow log(1 + compression · |X|).

        Music falls by 60 dB from its low bins to its high ones; the logarithm makes both as visible to the network, in
        particular where subbands share a token.
        """
        c = self.model_config
        magnitude = spectrum.abs() + 1e-6
        if c.compression:
            # √n_fft / 2 is about what noise of unit level reaches, which this brings near one.
            compressed = (1 + magnitude * (c.compression * 2 / c.n_fft**0.5)).log() / math.log(1 + c.compression)
        else:
            compressed = magnitude * (2 / c.n_fft**0.5)
        maps = []
        if c.features != "magnitude":
            ratio = compressed / magnitude
            maps += [spectrum.real * ratio, spectrum.imag * ratio]
        if c.features != "complex":
            # Around zero, or what changes would drown in what is always there.
            maps.append((compressed - 0.5) * 4 if c.compression else compressed)
        return torch.stack(maps, dim=2).flatten(1, 2)
