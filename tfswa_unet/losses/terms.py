"""The terms a loss is made of, and the stems as they see them: waveforms and spectrograms, each computed once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tfswa_unet.config import Registry
from tfswa_unet.dsp import istft, stft
from tfswa_unet.losses.distances import magnitude_distance, waveform_distance

Resolution = tuple[int, int]  # n_fft and hop in samples
# Each maps estimated and true stems, and its options, to one number.
TERMS: Registry[Callable[..., Tensor]] = Registry("loss", positional=2)


class Signals:
    """Stems (b, s, c, t) as a waveform and as spectrograms at any resolution.

    Terms that look at the same resolution share its STFT, and a model's own spectrogram is taken as it is: a loss that
    only looks there never pays for an inverse transform.

    Args:
        n_fft, hop: resolution of `spectrum`, in samples.
        length: samples t of the waveform.
        waveform: (b, s, c, t), or None to make it from `spectrum` when asked for.
        spectrum: complex (b, s, c, n, f), or None to make it from `waveform` when asked for.
        step: of training, for terms whose parts take turns.
    """

    def __init__(
        self,
        n_fft: int,
        hop: int,
        length: int,
        waveform: Tensor | None = None,
        spectrum: Tensor | None = None,
        step: int = 0,
    ) -> None:
        self.own = (n_fft, hop)
        self.step = step
        self.length = length
        self._waveform = waveform
        self._spectra = {} if spectrum is None else {self.own: spectrum}

    @property
    def waveform(self) -> Tensor:
        """Stems (b, s, c, t)."""
        if self._waveform is None:
            self._waveform = istft(self._spectra[self.own], *self.own, self.length)
        return self._waveform

    def spectrum(self, n_fft: int, hop: int) -> Tensor:
        """Complex spectrogram (b, s, c, n, f) at a resolution."""
        if (n_fft, hop) not in self._spectra:
            self._spectra[n_fft, hop] = stft(self.waveform, n_fft, hop)
        return self._spectra[n_fft, hop]


@TERMS.register("waveform_l1")
def waveform_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of waveforms."""
    return waveform_distance(estimate.waveform, target.waveform)


@TERMS.register("spectrum_l1")
def spectrum_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of the complex spectrograms' real and imaginary parts, at the model's resolution.

    Divided by √n_fft, so that a sample's error weighs about as much as it does in `waveform_l1`.
    """
    difference = estimate.spectrum(*estimate.own) - target.spectrum(*estimate.own)
    return torch.view_as_real(difference).abs().mean() / estimate.own[0] ** 0.5


@TERMS.register("magnitude_l1")
def magnitude_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of magnitude spectrograms at the model's resolution, divided by √n_fft."""
    ours, theirs = estimate.spectrum(*estimate.own), target.spectrum(*estimate.own)
    return magnitude_distance(ours, theirs, estimate.own[0] ** -0.5, 0.0, 1.0)


@TERMS.register("spectrum_snr")
def spectrum_snr(estimate: Signals, target: Signals, limit: float) -> Tensor:
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


@TERMS.register("multi_resolution_stft")
def multi_resolution_stft(
    estimate: Signals,
    target: Signals,
    resolutions: tuple[Resolution, ...],
    magnitude: float,
    log_magnitude: float,
    in_turn: bool,
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
