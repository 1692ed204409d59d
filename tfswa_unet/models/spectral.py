"""A network that sees spectrograms, wrapped to take and give waveforms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet.dsp import apply_mask, istft, level, mask_maps, stack_subbands, stft, unstack_subbands
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.models.tfswa_unet import TFSWAUNet, TFSWAUNetConfig
from tfswa_unet.records import from_values

ARCHITECTURES = {"tfswa_unet": (TFSWAUNet, TFSWAUNetConfig)}
FEATURES = {"complex": 2, "magnitude": 1, "both": 3}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that makes a model but its weights; travels as JSON in bundles and checkpoints."""

    name: str
    architecture: str
    stems: dict[str, Any]  # output stem → the source stems it sums, or "rest", as in conf/stems
    rate: int  # Hz
    channels: int
    n_fft: int  # samples
    hop: int  # samples
    subbands: int
    features: str  # what of the mixture the network sees: complex, magnitude or both
    compression: float  # of magnitudes before the network: log(1 + compression · |X|)
    mask: str
    sums_to_mixture: bool
    network: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stems:
            raise ConfigError("a model needs at least one stem: set stems=four, for instance")
        if self.features not in FEATURES:
            raise unknown("model.features", self.features, FEATURES)
        if self.architecture not in ARCHITECTURES:
            raise unknown("model.architecture", self.architecture, ARCHITECTURES)
        if not 0 < self.hop < self.n_fft // 2 + 1:
            raise ConfigError(f"model.hop={self.hop} must lie between 1 and half of model.n_fft={self.n_fft}")
        if (self.n_fft // 2) % self.subbands:
            raise ConfigError(f"model.subbands={self.subbands} must divide n_fft / 2 = {self.n_fft // 2}")
        mask_maps(self.mask)


class SpectralModel(nn.Module):
    """Waveform → STFT → subbands → network → masks → ISTFT.

    Calling it maps mixtures (b, c, t) to stems (b, s, c, t), s in the order of `stems`; silence gives silence exactly.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.model_config = config
        network_class, network_config = ARCHITECTURES[config.architecture]
        bins = config.n_fft // 2 // config.subbands
        per_channel = FEATURES[config.features] * config.subbands
        self.maps_per_stem = config.channels * mask_maps(config.mask) * config.subbands
        self.network = network_class(
            config.channels * per_channel,
            len(config.stems) * self.maps_per_stem,
            bins,
            from_values(network_config, config.network, "model.network"),
        )

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
        scaled = spectrum / level(mixture)[:, None, None, None]
        maps = self.network(stack_subbands(self._features(scaled), c.subbands))
        full = unstack_subbands(maps, c.subbands)
        masks = full.unflatten(1, (len(c.stems), c.channels, mask_maps(c.mask)))
        return apply_mask(masks, spectrum, c.mask, c.sums_to_mixture)

    def _features(self, spectrum: Tensor) -> Tensor:
        """Real maps (b, c·m, n, f) of a spectrogram (b, c, n, f) whose magnitudes follow log(1 + compression · |X|).

        Music falls by 60 dB from its low bins to its high ones; the logarithm makes both as visible to the network, in
        particular where subbands share a token.
        """
        c = self.model_config
        magnitude = spectrum.abs() + 1e-6
        # √n_fft / 2 is about what noise of unit level reaches, which this brings near one.
        compressed = (1 + magnitude * (c.compression * 2 / c.n_fft**0.5)).log() / math.log(1 + c.compression)
        maps = []
        if c.features != "magnitude":
            ratio = compressed / magnitude
            maps += [spectrum.real * ratio, spectrum.imag * ratio]
        if c.features != "complex":
            # Around zero, or what changes would drown in what is always there.
            maps.append((compressed - 0.5) * 4)
        return torch.stack(maps, dim=2).flatten(1, 2)


def build(config: Mapping[str, Any]) -> SpectralModel:
    """Make a model with fresh weights from plain values, as `SpectralModel.config` gives them.

    Raises:
        ConfigError: for unknown, missing or impossible values.
    """
    return SpectralModel(from_values(ModelConfig, config, "model"))
