"""Short-time Fourier transform with frames before bins, for any leading axes.

torch's own pair gives the same numbers; this one's gradients cost half, for they are real transforms themselves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tfswa_unet.dsp.cached import pieces


def frames(length: int, hop: int) -> int:
    """Number of frames n that `stft` gives for `length` samples."""
    return length // hop + 1


def stft(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Transform waveforms with a Hann window, one frame centred on every `hop`-th sample.

    Runs in float32 (float64 stays) whatever the autocast state. The ends are padded with zeros, so that any length
    from one sample on works.

    Args:
        waveform: (..., t).
        n_fft: window length in samples, even.
        hop: samples between frames.

    Returns:
        complex spectrogram (..., n, f), n = t // hop + 1, f = n_fft // 2 + 1.
    """
    waveform = waveform if waveform.dtype == torch.float64 else waveform.float()
    flat = waveform.reshape(-1, waveform.shape[-1])
    spectrum = _Analysis.apply(F.pad(flat, (n_fft // 2, n_fft // 2)), n_fft, hop)
    return spectrum.view(*waveform.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Invert `stft`: the least-squares waveform of a spectrogram.

    Args:
        spectrum: complex (..., n, f).
        n_fft: window length in samples.
        hop: samples between frames, at most n_fft / 2.
        length: samples t to return, at least (n − 1) · hop.

    Returns:
        waveform (..., t).
    """
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    start = n_fft // 2
    envelope = _envelope(n_fft, hop, flat.shape[1], flat.device, flat.real.dtype)
    waveform = _Synthesis.apply(flat, n_fft, hop)[:, start : start + length] / envelope[start : start + length]
    return waveform.view(*spectrum.shape[:-2], length)


class _Analysis(torch.autograd.Function):
    """Samples (signals, t) → windowed frames → spectra (signals, n, f)."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, n_fft: int, hop: int) -> Tensor:
        ctx.sizes = n_fft, hop, samples.shape[-1]
        return _analyse(samples, _window(n_fft, samples.device, samples.dtype), hop)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        n_fft, hop, length = ctx.sizes
        window = _window(n_fft, outputs[0].device, outputs[0].real.dtype) * (n_fft / 2)
        # The inverse transform takes each bin between the ends for two, itself and its mirror image; here each is one.
        samples = _synthesise(outputs[0], window, hop, ends=2)
        return F.pad(samples, (0, length - samples.shape[-1])), None, None


class _Synthesis(torch.autograd.Function):
    """Spectra (signals, n, f) → windowed frames → their overlapping sum (signals, t)."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
        ctx.sizes = n_fft, hop
        return _synthesise(spectrum, _window(n_fft, spectrum.device, spectrum.real.dtype), hop)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        n_fft, hop = ctx.sizes
        gradient = _analyse(outputs[0], _window(n_fft, outputs[0].device, outputs[0].dtype) * (2 / n_fft), hop)
        gradient[..., 0] /= 2
        gradient[..., -1] /= 2
        return gradient, None, None


def _analyse(samples: Tensor, window: Tensor, hop: int) -> Tensor:
    """Spectra (signals, n, f) of windowed frames, each `hop` samples after the last, of samples (signals, t)."""
    cut = samples.unfold(-1, len(window), hop)
    spectrum = cut.new_empty(*cut.shape[:2], len(window) // 2 + 1, dtype=samples.dtype.to_complex())
    for piece in pieces(cut):
        spectrum[piece] = torch.fft.rfft(cut[piece] * window)
    return spectrum


def _synthesise(spectrum: Tensor, window: Tensor, hop: int, ends: int = 1) -> Tensor:
    """Overlapping sum (signals, t) of windowed frames, of spectra (signals, n, f) whose end bins weigh `ends`-fold."""
    signals, n, _ = spectrum.shape
    samples = spectrum.real.new_empty(signals, (n - 1) * hop + len(window))
    for piece in pieces(spectrum):
        part = spectrum[piece]
        if ends != 1:
            part = part.clone()
            part[..., 0] *= ends
            part[..., -1] *= ends
        samples[piece] = _overlap_add(torch.fft.irfft(part, len(window)).mul_(window), hop)
    return samples


def _overlap_add(cut: Tensor, hop: int) -> Tensor:
    """Sum frames (signals, n, n_fft), each `hop` samples after the last: (signals, (n − 1) · hop + n_fft)."""
    signals, n, n_fft = cut.shape
    parts = -(-n_fft // hop)
    if n_fft % hop:
        cut = F.pad(cut, (0, parts * hop - n_fft))
    cut = cut.view(signals, n, parts, hop)
    total = cut.new_zeros(signals, n + parts - 1, hop)
    for part in range(parts):
        total[:, part : part + n] += cut[:, :, part]
    return total.view(signals, -1)[:, : (n - 1) * hop + n_fft]


# Cached outside inference mode, or the first inference would leave tensors that training cannot use.
@lru_cache(maxsize=16)
def _window(n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(n_fft, device=device, dtype=dtype)


@lru_cache(maxsize=16)
def _envelope(n_fft: int, hop: int, n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the overlapping windows of analysis and synthesis sum to: (t,)."""
    with torch.inference_mode(False):
        return _overlap_add(_window(n_fft, device, dtype).square().expand(1, n, n_fft).contiguous(), hop)[0]
