"""Loss terms by name, and their weighted sum."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.losses.distances import magnitude_distance, waveform_distance
from tfswa_unet.losses.signals import Signals

Resolution = tuple[int, int]


def waveform_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of waveforms."""
    return waveform_distance(estimate.waveform, target.waveform)


def spectrum_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of the complex spectrograms' real and imaginary parts, at the model's resolution.

    Divided by √n_fft, so that a sample's error weighs about as much as it does in `waveform_l1`.
    """
    difference = estimate.spectrum(*estimate.own) - target.spectrum(*estimate.own)
    return torch.view_as_real(difference).abs().mean() / estimate.own[0] ** 0.5


def magnitude_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of magnitude spectrograms at the model's resolution, divided by √n_fft."""
    ours, theirs = estimate.spectrum(*estimate.own), target.spectrum(*estimate.own)
    return magnitude_distance(ours, theirs, estimate.own[0] ** -0.5, 0.0, 1.0)


def spectrum_snr(estimate: Signals, target: Signals, limit: float = 30.0) -> Tensor:
    """Mean over examples and stems of the squared error in dB under the example's energy, at the model's resolution.

    A decibel weighs the same in a loud stem and in a soft one. Errors below −`limit` dB hardly count, so that silent
    stems have finite gradients. Source: the thresholded SNR of MixIT, arXiv 2006.12701.

    Args:
        estimate: stems from the model.
        target: true stems.
        limit: dB below the energy of all stems of an example.
    """
    truth = torch.view_as_real(target.spectrum(*estimate.own))
    error = (torch.view_as_real(estimate.spectrum(*estimate.own)) - truth).square().sum(dim=(-4, -3, -2, -1))
    energy = truth.square().sum(dim=(-5, -4, -3, -2, -1)).unsqueeze(-1) + 1e-8
    return 10 * (error / energy + 10 ** (-limit / 10)).log10().mean()


def multi_resolution_stft(
    estimate: Signals,
    target: Signals,
    resolutions: Sequence[Resolution] = ((2048, 512), (1024, 342), (512, 171)),
    magnitude: float = 1.0,
    log_magnitude: float = 1.0,
    in_turn: bool = False,
) -> Tensor:
    """Mean over resolutions of the L1 differences of magnitudes (over √n_fft) and of their natural logarithms.

    Source: Parallel WaveGAN, arXiv 1910.11480, with L1 in place of spectral convergence, which silent stems would
    divide by zero.

    Args:
        estimate: stems from the model.
        target: true stems.
        resolutions: (n_fft, hop) in samples.
        magnitude: weight of the magnitude part.
        log_magnitude: weight of the logarithmic part.
        in_turn: one resolution a step instead of all, which costs a fraction and is the same on average.
    """
    chosen = [resolutions[estimate.step % len(resolutions)]] if in_turn else resolutions
    distances = [
        magnitude_distance(
            estimate.spectrum(n_fft, hop),
            target.spectrum(n_fft, hop),
            magnitude / n_fft**0.5,
            log_magnitude,
            # A floor of −80 dB under a full-scale sine keeps near-silence from ruling the logarithm.
            floor=n_fft / 4 * 1e-4,
        )
        for n_fft, hop in chosen
    ]
    return torch.stack(distances).mean()


TERMS: dict[str, Callable[..., Tensor]] = {
    "waveform_l1": waveform_l1,
    "spectrum_l1": spectrum_l1,
    "magnitude_l1": magnitude_l1,
    "spectrum_snr": spectrum_snr,
    "multi_resolution_stft": multi_resolution_stft,
}


class WeightedLoss:
    """Sum of terms from `TERMS`, each by its weight, in float32.

    Args:
        terms: name → {"weight": number, …arguments of the term}; a weight of 0 leaves the term out.

    Raises:
        ConfigError: for an unknown term or argument, or when nothing is left to minimise.
    """

    def __init__(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        self.terms: dict[str, tuple[float, dict[str, Any]]] = {}
        for name, options in terms.items():
            if name not in TERMS:
                raise unknown("loss", name, TERMS)
            arguments = dict(options)
            weight = float(arguments.pop("weight", 1.0))
            allowed = list(inspect.signature(TERMS[name]).parameters)[2:]
            surplus = sorted(set(arguments) - set(allowed))
            if surplus:
                raise ConfigError(
                    f"loss.{name} got unknown {', '.join(surplus)}: it takes weight{''.join(', ' + a for a in allowed)}"
                )
            if weight:
                self.terms[name] = (weight, arguments)
        if not self.terms:
            raise ConfigError("the loss has no term with a weight: set loss.waveform_l1.weight=1, for instance")

    def __call__(self, estimate: Signals, target: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each unweighted term under its name."""
        with torch.autocast(target.waveform.device.type, enabled=False):
            parts = {name: TERMS[name](estimate, target, **options) for name, (_, options) in self.terms.items()}
        total = torch.stack([self.terms[name][0] * part for name, part in parts.items()]).sum()
        return total, {name: part.detach() for name, part in parts.items()}
