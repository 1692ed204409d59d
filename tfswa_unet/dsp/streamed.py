"""STFT and its inverse of signals that come in blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tfswa_unet.dsp.spectrogram import frames, hann, overlap_add


class StreamTransform:
    """`stft` and `istft` of one signal that comes in blocks: the same frames and samples, as soon as they are complete.

    A sample comes out once the `n_fft` samples from it on have gone in, at the latest. What is kept is less than two
    windows.

    Args:
        n_fft: window length in samples, even.
        hop: samples between frames, at most n_fft / 2.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        self.n_fft, self.hop = n_fft, hop
        self.received = self.emitted = self.analysed = 0  # samples in and out, frames
        self._samples: Tensor | None = None  # with which the next frame begins
        self._sums: Tensor | None = None  # of frames that reach beyond what is complete; last, of their windows
        self._before = n_fft // 2  # samples of the first frame that lie before the signal

    def analyse(self, block: Tensor) -> Tensor:
        """The frames (..., n, f) that a block (..., t) completes, which may be none."""
        self.received += block.shape[-1]
        ends = self._before, 0
        joined = F.pad(block, ends) if self._samples is None else torch.cat([self._samples, block], dim=-1)
        return self._analysed(joined, max(0, (joined.shape[-1] - self.n_fft) // self.hop + 1))

    def ending(self) -> Tensor:
        """The frames (..., n, f) that reach beyond the end of the signal."""
        assert self._samples is not None
        count = frames(self.received, self.hop) - self.analysed
        reach = (count - 1) * self.hop + self.n_fft
        return self._analysed(F.pad(self._samples, (0, reach - self._samples.shape[-1])), count)

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """The samples (..., t) that the next frames (..., n, f) complete."""
        window = hann(self.n_fft, spectrum.device, spectrum.real.dtype)
        n = spectrum.shape[-2]
        cut = torch.fft.irfft(spectrum.reshape(-1, *spectrum.shape[-2:]), self.n_fft) * window
        total = overlap_add(torch.cat([cut, window.square().expand(1, n, -1)]), self.hop)
        if self._sums is not None:
            total[:, : self.n_fft - self.hop] += self._sums
        self._sums = total[:, n * self.hop :]
        done = total[:, self._before : n * self.hop]
        self._before = max(0, self._before - n * self.hop)
        return self._out(done, spectrum)

    def rest(self, spectrum: Tensor) -> Tensor:
        """The samples (..., t) that the frames of `ending` complete: all up to the signal's end."""
        done = self.synthesise(spectrum)
        if (more := self.received - self.emitted) <= 0:
            return done[..., : done.shape[-1] + more]
        assert self._sums is not None
        last = self._sums[:, self._before : self._before + more]
        return torch.cat([done, self._out(last, spectrum)], dim=-1)

    def _analysed(self, joined: Tensor, count: int) -> Tensor:
        kept = joined[..., count * self.hop :]
        self._samples = kept if count <= 1 else kept.clone()  # or it would hold all of a long block
        self.analysed += count
        if not count:
            return joined.new_zeros(*joined.shape[:-1], 0, self.n_fft // 2 + 1, dtype=joined.dtype.to_complex())
        cut = joined[..., : (count - 1) * self.hop + self.n_fft].unfold(-1, self.n_fft, self.hop)
        return torch.fft.rfft(cut * hann(self.n_fft, joined.device, joined.dtype))

    def _out(self, sums: Tensor, spectrum: Tensor) -> Tensor:
        self.emitted += sums.shape[-1]
        return (sums[:-1] / sums[-1:]).view(*spectrum.shape[:-2], -1)
