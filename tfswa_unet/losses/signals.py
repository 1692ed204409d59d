"""Stems as every loss wants to see them, each view computed once."""

from __future__ import annotations

from torch import Tensor

from tfswa_unet.dsp import istft, stft


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
        if self._waveform is None:
            self._waveform = istft(self._spectra[self.own], *self.own, self.length)
        return self._waveform

    def spectrum(self, n_fft: int, hop: int) -> Tensor:
        """Complex spectrogram (b, s, c, n, f) at a resolution."""
        if (n_fft, hop) not in self._spectra:
            self._spectra[n_fft, hop] = stft(self.waveform, n_fft, hop)
        return self._spectra[n_fft, hop]
