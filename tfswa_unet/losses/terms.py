"""The terms a loss is made of; each maps estimated and true stems to one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tfswa_unet.losses.signals import Signals

Resolution = tuple[int, int]


def waveform_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of waveforms."""
    return (estimate.waveform - target.waveform).abs().mean()


def spectrum_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of the complex spectrograms' real and imaginary parts, at the model's resolution.

    Divided by √n_fft, so that a sample's error weighs about as much as it does in `waveform_l1`.
    """
    difference = estimate.spectrum(*estimate.own) - target.spectrum(*estimate.own)
    return torch.view_as_real(difference).abs().mean() / estimate.own[0] ** 0.5


def magnitude_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of magnitude spectrograms at the model's resolution, divided by √n_fft."""
    difference = _magnitude(estimate.spectrum(*estimate.own)) - _magnitude(target.spectrum(*estimate.own))
    return difference.abs().mean() / estimate.own[0] ** 0.5


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
    resolutions: Sequence[Resolution] = ((2048, 512), (1024, 256), (512, 128)),
    magnitude: float = 1.0,
    log_magnitude: float = 1.0,
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
    """
    total = torch.zeros((), device=target.waveform.device)
    for n_fft, hop in resolutions:
        ours, theirs = (_magnitude(signals.spectrum(n_fft, hop)) for signals in (estimate, target))
        if magnitude:
            total = total + magnitude * (ours - theirs).abs().mean() / n_fft**0.5
        if log_magnitude:
            # A floor of −80 dB under a full-scale sine keeps near-silence from ruling the logarithm.
            floor = n_fft / 4 * 1e-4
            total = total + log_magnitude * ((ours + floor).log() - (theirs + floor).log()).abs().mean()
    return total / len(resolutions)


def _magnitude(spectrum: Tensor) -> Tensor:
    """|X| with a gradient at zero that is finite; `Tensor.abs` has NaN-free but unscaled steps there."""
    return torch.view_as_real(spectrum).square().sum(-1).add(1e-10).sqrt()


TERMS: dict[str, Callable[..., Tensor]] = {
    "waveform_l1": waveform_l1,
    "spectrum_l1": spectrum_l1,
    "magnitude_l1": magnitude_l1,
    "spectrum_snr": spectrum_snr,
    "multi_resolution_stft": multi_resolution_stft,
}
