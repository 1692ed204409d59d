"""A network that sees spectrograms, wrapped to take and give waveforms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet.config import from_values
from tfswa_unet.dsp import (
    MASKS,
    Complex,
    Ratios,
    RealTransform,
    Transform,
    apply_mask,
    stack_subbands,
    unstack_subbands,
)
from tfswa_unet.errors import ConfigError
from tfswa_unet.models.config import NETWORKS, ModelConfig

WITH_LOGITS = ("softmax", "sigmoid")  # kinds of masks


class SpectralModel(nn.Module):
    """Waveform → STFT → subbands → network → masks → ISTFT.

    Calling it maps mixtures (b, c, t) to stems (b, s, c, t), s in the order of `stems`; silence gives silence exactly.

    Args:
        config: the signal chain, and what the network is made of.
        network: maps (b, `config.maps_in`, n, f) → (b, `config.maps_out`, n, f), for any n; one that has `scales` is
            given the maps of the mixture at so many times n_fft and hop too, one argument each.

    Raises:
        ConfigError: where a scale does not give whole samples.
    """

    def __init__(self, config: ModelConfig, network: nn.Module) -> None:
        super().__init__()
        self.model_config = config
        self.network = network
        self.mask = MASKS[config.mask]
        self.heads = len(config.stems) + config.hidden_rest
        # Of the spectrograms that the network sees, the model's own first.
        scaled = (config.resolution(scale) for scale in getattr(network, "scales", ()))
        self.transforms: Any = [Transform(n_fft, hop) for n_fft, hop in [(config.n_fft, config.hop), *scaled]]

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
        return self.transforms[0].synthesise(self.spectra(mixture), mixture.shape[-1])

    def spectra(self, mixture: Tensor) -> Any:
        """Stem spectrograms (b, s, c, n, f), complex, of mixtures (b, c, t)."""
        stems = self.masked(mixture)
        return stems.spectrum() if isinstance(stems, Ratios) else stems

    def masked(self, mixture: Tensor) -> Any:
        """What `spectra` gives, or the ratios that stand for it; training reads its losses off these."""
        spectra = [transform.analyse(mixture) for transform in self.transforms]
        return self._masked(spectra, self._scale(mixture, spectra[0]), mixture.shape[-1])

    def _scale(self, mixture: Tensor, spectrum: Complex) -> Tensor:
        """What the network sees a mixture (b, c, t), or its spectrogram, divided by: (b, 1, n or 1, 1)."""
        return self.transforms[0].level(mixture)[:, None, None, None]

    def _masked(self, spectra: Sequence[Any], scale: Tensor, length: int, *more: Any) -> Any:
        """What `masked` gives, of spectrograms at all resolutions; `more` goes to the network."""
        c = self.model_config
        full = unstack_subbands(self.maps(self._seen(spectra, scale, length), *more), c.subbands)
        masks = full.unflatten(1, (self.heads, c.channels, self.mask.maps))
        # Stems given as magnitudes or spectra come in the units that the features have.
        stems = apply_mask(masks, spectra[0], scale / noise_unit(c.n_fft), self.mask, c.sums_to_mixture)
        kept = slice(len(c.stems))
        return Ratios(stems.ratio[:, kept], stems.mixture) if isinstance(stems, Ratios) else stems[:, kept]

    def analyse(self, mixture: Tensor) -> tuple[Complex, Tensor, list[Tensor]]:
        """What the network is shown of mixtures (b, c, t).

        Returns:
            their spectrograms (b, c, n, f), what these are divided by, (b, 1, n or 1, 1), and real maps (b, c·m, n, f)
            for each of `transforms`.
        """
        spectra = [transform.analyse(mixture) for transform in self.transforms]
        scale = self._scale(mixture, spectra[0])
        return spectra[0], scale, self._seen(spectra, scale, mixture.shape[-1])

    def maps(self, seen: Sequence[Tensor], *more: Any) -> Tensor:
        """What the network answers to what `analyse` shows it, or to parts of that: maps (b, c', n, f / k)."""
        return self.network(*(stack_subbands(each, self.model_config.subbands) for each in seen), *more)

    def _seen(self, spectra: Sequence[Any], scale: Tensor, length: int) -> list[Tensor]:
        features = [self._features(spectrum, scale) for spectrum in spectra]
        return [transform.within(maps, length) for transform, maps in zip(self.transforms, features, strict=True)]

    def soften(self, temperature: float) -> None:
        """Divide the logits of masks by `temperature`, in the last weights: above 1, less is given wholly to one stem.

        On music unlike what it was trained on a model is surer than it is right. Source: temperature scaling, arXiv
        1706.04599.

        Raises:
            ConfigError: for a temperature that is not above 0, or masks that have no logits.
        """
        if not 0 < temperature < math.inf:
            raise ConfigError(f"the temperature is {temperature:g}, expected a number above 0")
        if self.model_config.mask not in WITH_LOGITS:
            raise ConfigError(
                f"{self.model_config.name} has {self.model_config.mask} masks, and those of the kinds "
                f"{' and '.join(WITH_LOGITS)} alone have a temperature: leave it out"
            )
        with torch.no_grad():
            for layer in self.network.last_layers():  # type: ignore[operator]
                for parameter in layer.parameters():
                    parameter /= temperature

    def in_real_numbers(self) -> SpectralModel:
        """A copy for graphs that leave torch: the same stems without complex numbers, for any length and batch."""
        copied, hop = deepcopy(self).requires_grad_(False), self.model_config.hop
        multiple: Any = self.network.frame_multiple  # at the model's own hop
        copied.transforms = nn.ModuleList(
            RealTransform(own.n_fft, own.hop, int(multiple * hop / own.hop)) for own in self.transforms
        )
        return copied.eval()

    def _features(self, spectrum: Complex, scale: Tensor) -> Tensor:
        """Real maps (b, c·m, n, f) of spectrograms (b, c, n, f), of magnitudes |X| / scale as they are or compressed.

        Music falls by 60 dB from its low bins to its high ones, which log(1 + compression · |X| / scale) evens out.
        """
        c = self.model_config
        unit = noise_unit(2 * spectrum.shape[-1] - 2)
        magnitude = spectrum.abs() / scale + 1e-6
        if c.compression:
            compressed = (1 + magnitude * (c.compression * unit)).log() / math.log(1 + c.compression)
        else:
            compressed = magnitude * unit
        maps = []
        if c.features != "magnitude":
            ratio = compressed / (magnitude * scale)
            maps += [spectrum.real * ratio, spectrum.imag * ratio]
        if c.features != "complex":
            # Around zero, or what changes would drown in what is always there.
            maps.append((compressed - 0.5) * 4 if c.compression else compressed)
        return torch.stack(maps, dim=2).flatten(1, 2)


def noise_unit(n_fft: int) -> float:
    """Brings the bins of noise of unit level near one."""
    return 2 / n_fft**0.5


def build(values: Mapping[str, Any]) -> SpectralModel:
    """Make a model with fresh weights from plain values, as `SpectralModel.config` gives them.

    Raises:
        ConfigError: for unknown, missing or impossible values.
    """
    config = from_values(ModelConfig, values, "model")
    network = NETWORKS[config.architecture]
    sizes = from_values(network.config_type, config.network, "model.network")
    wrapper = network.model_type or SpectralModel
    return wrapper(config, network(config.maps_in, config.maps_out, config.bins, sizes))
