"""Masks: the one place where what a network puts out becomes stem spectrograms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.config import Registry
from tfswa_unet.dsp.parts import Complex, Parts

ToStems = Callable[[Tensor, Any, Tensor], Any]  # (maps, mixture, scale) → ratios or stems, see `Mask`

MASKS: Registry[Mask] = Registry("model.mask")


@dataclass(frozen=True)
class Mask:
    """Way from a network's output to stem spectrograms.

    `stems` maps the output (b, s, c, m, n, f) in float32, the mixture's complex spectrogram (b, c, n, f) and the scale
    (b, 1, n or 1, 1) that the network saw it divided by to (b, s, c, n, f): complex stem spectrograms, or real ratios
    of the mixture. While a model is exported the mixture is `Parts`, and so are complex stems: `joined` makes either.
    It takes m = `maps` real maps for each stem, channel and bin. Where `complete`, its stems sum to the mixture by
    themselves.
    """

    stems: ToStems
    maps: int
    complete: bool = False


def mask(name: str, maps: int = 1, complete: bool = False) -> Callable[[ToStems], Mask]:
    """Decorate a function as the `stems` of a `Mask`, which `model.mask=name` chooses from now on."""
    return lambda stems: MASKS.register(name)(Mask(stems, maps, complete))


@dataclass(frozen=True)
class Ratios:
    """Stems as real ratios (b, s, c, n, f) of the mixture's complex spectrogram (b, c, n, f).

    They are half the numbers of the spectrograms that they stand for, which a loss that takes them need never make.
    """

    ratio: Tensor
    mixture: Any

    def spectrum(self) -> Any:
        """Complex stem spectrograms (b, s, c, n, f)."""
        return self.ratio * self.mixture[:, None]


def apply_mask(maps: Tensor, mixture: Any, scale: Tensor, chosen: Mask, sums_to_mixture: bool) -> Any:
    """Stem spectrograms from a network's output, in float32.

    A network that puts out zeros splits the mixture into equal parts or halves, or, where it gives the stems themselves
    (`magnitude`, `spectrum`), puts out silence.

    Args:
        maps: network output (b, s, c, m, n, f) with m = `chosen.maps`.
        mixture: complex spectrogram (b, c, n, f).
        scale: what the network saw the mixture divided by, (b, 1, n or 1, 1).
        chosen: one of `MASKS`.
        sums_to_mixture: spread what the stems leave of the mixture equally over them; for stems that cover it.

    Returns:
        complex stem spectrograms (b, s, c, n, f), or where the mask is real the ratios that stand for them.
    """
    stems = chosen.stems(maps.float(), mixture, scale)
    if sums_to_mixture and not chosen.complete:
        whole = mixture[:, None] if stems.is_complex() else 1
        stems = stems + (whole - stems.sum(dim=1, keepdim=True)) / stems.shape[1]
    return stems if stems.is_complex() else Ratios(stems, mixture)


@mask("sigmoid")
def sigmoid(maps: Tensor, mixture: Complex, scale: Tensor) -> Tensor:
    """Ratio mask in [0, 1], each stem by itself."""
    return maps.squeeze(3).sigmoid()


@mask("softmax", complete=True)
def softmax(maps: Tensor, mixture: Complex, scale: Tensor) -> Tensor:
    """Ratio mask in [0, 1] that sums to one over the stems."""
    logits = maps.squeeze(3)
    if not isinstance(mixture, Parts):
        return logits.softmax(dim=1)
    # Other runtimes are several times slower at a softmax along an axis that is not the last.
    weights = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return weights / weights.sum(dim=1, keepdim=True)


@mask("complex", maps=2)
def complex_ratio(maps: Tensor, mixture: Any, scale: Tensor) -> Complex:
    """Unbounded complex ratio mask, of equal parts where the maps are zero."""
    real, imaginary = maps.unbind(3)
    return joined(real + 1 / maps.shape[1], imaginary, mixture) * mixture[:, None]


@mask("magnitude")
def magnitude(maps: Tensor, mixture: Any, scale: Tensor) -> Complex:
    """Magnitudes of the stems, which get the mixture's phase: the paper's head (doi 10.1186/s13634-025-01249-0)."""
    # A unit phase that has a value, not NaN, where the mixture is silent.
    return _scaled(maps, mixture, scale).squeeze(3).relu() * mixture.sgn()[:, None]


@mask("spectrum", maps=2)
def spectrum(maps: Tensor, mixture: Complex, scale: Tensor) -> Complex:
    """Real and imaginary parts of the stems."""
    real, imaginary = _scaled(maps, mixture, scale).unbind(3)
    return joined(real, imaginary, mixture)


def joined(real: Tensor, imaginary: Tensor, like: Complex) -> Complex:
    """Complex numbers of these parts, as `like` holds its own."""
    return Parts(real, imaginary) if isinstance(like, Parts) else torch.complex(real, imaginary)


def _scaled(maps: Tensor, mixture: Complex, scale: Tensor) -> Tensor:
    """Maps of the stems themselves, at the mixture's level; zeros alone, as far as one level holds, give zeros."""
    magnitudes = mixture.abs().amax(dim=(1, 3), keepdim=True)
    loud = (magnitudes if scale.shape[2] > 1 else magnitudes.amax(dim=2, keepdim=True)) > 0
    return maps * (scale * loud)[:, None, None]
