"""STFT and its inverse in real numbers, without branches or caches that hang on a length, for models that are exported.

Everything is a matrix product, a sum, a shift or a shape, which every runtime has.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.dsp.parts import Parts
from tfswa_unet.dsp.spectrogram import FLOOR


class RealFFT(nn.Module):
    """Real Fourier transform of frames (..., n_fft) and its inverse, as two real matrix products each.

    With n_fft = rows · columns, a transform of the rows, a turn and a transform of the columns give what one matrix
    would: for 2048 = 32 · 64 a tenth of its multiplications, and 60 kB of constants instead of 17 MB. Source: Cooley
    and Tukey, doi 10.1090/S0025-5718-1965-0178586-1.

    Args:
        n_fft: samples of a frame, even.
        dtype: of the constants, and of what can be transformed.
    """

    first: Tensor
    second: Tensor
    back_first: Tensor
    back_second: Tensor
    cosine: Tensor
    sine: Tensor
    weight: Tensor

    def __init__(self, n_fft: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        rows = math.gcd(n_fft, 1 << int(math.log2(n_fft)) // 2)  # a power of two
        columns = n_fft // rows
        self.n_fft, self.rows, self.columns = n_fft, rows, columns
        self.bins, self.kept = n_fft // 2 + 1, columns // 2 + 1

        row, column, kept = torch.arange(rows), torch.arange(columns), torch.arange(columns // 2 + 1)
        weight = torch.full((self.bins,), 2.0, dtype=torch.float64)  # a bin counts for itself and its mirror image
        weight[0] = weight[-1] = 1
        along, across = _turns(row, row, rows), _turns(column, kept, columns)
        constants = {
            # x[columns · i + j] → a[k, j] = Σ_i x · W_rows^(i·k), real over imaginary
            "first": torch.cat(along, 1).T,
            "cosine": _turns(row, column, n_fft)[0],
            "sine": _turns(row, column, n_fft)[1],
            # X[k + rows · m] = Σ_j a[k, j] · W_n_fft^(k·j) · W_columns^(j·m)
            "second": torch.cat([torch.cat(across, 1), torch.cat([-across[1], across[0]], 1)]),
            "back_second": torch.cat(
                [torch.cat([across[0].T, -across[1].T], 1), torch.cat([across[1].T, across[0].T], 1)]
            ),
            "back_first": torch.cat(along, 1) / n_fft,
            "weight": weight,
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant.to(dtype).contiguous(), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts (..., f) of frames (..., n_fft), f = n_fft / 2 + 1."""
        a = self.first @ frames.unflatten(-1, (self.rows, self.columns))  # (..., 2 · rows, columns)
        real, imaginary = a.split(self.rows, -2)
        turned = torch.cat([real * self.cosine - imaginary * self.sine, real * self.sine + imaginary * self.cosine], -1)
        spectrum = (turned @ self.second).transpose(-1, -2)  # (..., 2 · kept, rows): bin k + rows · m at (m, k)
        real, imaginary = spectrum.split(self.kept, -2)
        return real.flatten(-2)[..., : self.bins], imaginary.flatten(-2)[..., : self.bins]

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Frames (..., n_fft) of real and imaginary parts (..., f)."""
        fill = (0, self.kept * self.rows - self.bins)
        both = [F.pad(part * self.weight, fill).unflatten(-1, (self.kept, self.rows)) for part in (real, imaginary)]
        b = torch.cat(both, -2).transpose(-1, -2) @ self.back_second  # (..., rows, 2 · columns)
        real, imaginary = b.split(self.columns, -1)
        turned = torch.cat([real * self.cosine + imaginary * self.sine, imaginary * self.cosine - real * self.sine], -2)
        return (self.back_first @ turned).flatten(-2)


class RealTransform(nn.Module):
    """`Transform` in real numbers, of spectrograms that have as many frames n as a network would fill them up to.

    Where frames would be padded to a multiple, n is written as that multiple times a number, so that every shape in a
    graph is a plain product; what lies behind the last frame of a waveform is left out of maps and of the inverse.

    Args:
        n_fft: window length in samples, even.
        hop: samples between frames, at most n_fft / 2.
        multiple: of which n is one.
        dtype: of the constants, and of waveforms.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int, multiple: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.n_fft, self.hop, self.multiple = n_fft, hop, multiple
        self.parts = -(-n_fft // hop)  # hops that a window touches
        self.fft = RealFFT(n_fft, dtype)
        self.register_buffer("window", torch.hann_window(n_fft, dtype=dtype), persistent=False)

    def analyse(self, waveform: Tensor) -> Parts:
        """Spectrograms (b, c, n, f) of waveforms (b, c, t)."""
        length = waveform.shape[-1]
        n, half = self._frames(length), self.n_fft // 2
        padded = F.pad(waveform, (half, (n + self.parts - 1) * self.hop - half - length))
        blocks = padded.unflatten(-1, (n + self.parts - 1, self.hop))
        frames = torch.cat([blocks[:, :, i : i + n] for i in range(self.parts)], -1)[..., : self.n_fft]
        return Parts(*self.fft(frames * self.window))

    def level(self, waveform: Tensor) -> Tensor:
        """Root mean squares (b,) of waveforms (b, c, t), by hops first: onnxruntime adds samples up one by one.

        Over a minute of them that would be wrong by 3e-4, which is heard at -87 dB.
        """
        channels, length = waveform.shape[1:]
        n = self._frames(length)
        hops = F.pad(waveform, (0, n * self.hop - length)).unflatten(-1, (n, self.hop)).square().sum(-1)
        return (hops.sum((-2, -1)) / (channels * length)).sqrt().clamp_min(FLOOR)

    def synthesise(self, spectrum: Parts, length: int) -> Tensor:
        """The least-squares waveforms (..., t) of spectrograms (..., n, f)."""
        window = self.window * self._counts(length)  # (n, n_fft)
        total = self._overlap_add(self.fft.inverse(spectrum.real, spectrum.imag) * window)
        envelope = self._overlap_add(self.window * window)
        return self._covered(total, length) / self._covered(envelope, length)

    def within(self, maps: Tensor, length: int) -> Tensor:
        """The maps (b, c, n, f) where a waveform of `length` samples has frames, zeros behind them."""
        return maps * self._counts(length)

    def _frames(self, length: int) -> int:
        return self.multiple * (length // (self.multiple * self.hop) + 1)

    def _counts(self, length: int) -> Tensor:
        """1 for the frames that a waveform has, 0 for those behind them: (n, 1)."""
        frames = torch.arange(self._frames(length), device=self.window.device)
        return (frames <= length // self.hop).to(self.window.dtype)[:, None]

    def _overlap_add(self, cut: Tensor) -> Tensor:
        """Sum of frames (..., n, n_fft), each `hop` samples after the last: (..., (n + parts − 1) · hop)."""
        if fill := self.parts * self.hop - self.n_fft:
            cut = F.pad(cut, (0, fill))
        pieces = [F.pad(piece, (0, 0, i, self.parts - 1 - i)) for i, piece in enumerate(cut.split(self.hop, -1))]
        return sum(pieces[1:], pieces[0]).flatten(-2)

    def _covered(self, samples: Tensor, length: int) -> Tensor:
        return samples.narrow(-1, self.n_fft // 2, length)


def _turns(a: Tensor, b: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of −2π · a · b / period for all pairs, in float64."""
    angle = (2 * math.pi / period) * (torch.outer(a, b) % period).double()
    return angle.cos(), -angle.sin()
