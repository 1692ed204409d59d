"""Spectrograms: STFT and its inverse, the level to divide by, subbands stacked as channels.

Transforms work on a few signals at a time, so that what is computed stays in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-5  # −100 dB full scale: a converter's last bit is not blown up to music
CACHED = 2**17  # elements that a thread works on at a time


def pieces(signals: Tensor) -> list[slice]:
    """Slices of (signals, …) as large as a CPU's caches allow, one signal at least; elsewhere one slice of all."""
    if signals.device.type != "cpu":
        return [slice(None)]
    elements = max(1, signals.shape[1:].numel())
    at_once = max(1, CACHED * torch.get_num_threads() // elements)
    return [slice(i, i + at_once) for i in range(0, len(signals), at_once)]


def frames(length: int, hop: int) -> int:
    """Number of frames n that `stft` gives for `length` samples."""
    return length // hop + 1


def stft(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Short-time Fourier transform with a Hann window, one frame centred on every `hop`-th sample.

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
    spectrum = _Analysis.apply(waveform.reshape(-1, waveform.shape[-1]), n_fft, hop)
    return spectrum.view(*waveform.shape[:-1], *spectrum.shape[-2:])


def stft_pieces(waveform: Tensor, n_fft: int, hop: int, count: int) -> Iterator[Tensor]:
    """The spectrogram that `stft` gives, `count` frames at a time: for songs whose whole spectrogram is too large.

    Args:
        waveform: (..., t).
        n_fft: window length in samples, even.
        hop: samples between frames.
        count: frames of a piece; the last one has what is left.

    Yields:
        complex (..., n, f).
    """
    length, half = waveform.shape[-1], n_fft // 2
    total = frames(length, hop)
    for first in range(0, total, count):
        start, stop = first * hop - half, (min(first + count, total) - 1) * hop + half
        part = F.pad(waveform[..., max(0, start) : min(stop, length)], (max(0, -start), max(0, stop - length)))
        yield torch.fft.rfft(part.unfold(-1, n_fft, hop) * hann(n_fft, part.device, part.dtype))


def istft(spectrum: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Inverse of `stft`: the least-squares waveform of a spectrogram.

    Args:
        spectrum: complex (..., n, f).
        n_fft: window length in samples.
        hop: samples between frames, at most n_fft / 2.
        length: samples t to return, at least (n − 1) · hop.

    Returns:
        waveform (..., t).
    """
    waveform = _Synthesis.apply(spectrum.reshape(-1, *spectrum.shape[-2:]), n_fft, hop, length)
    return waveform.view(*spectrum.shape[:-2], length)


def level(waveform: Tensor) -> Tensor:
    """Root mean square of each example over channels and samples, at least `FLOOR`: (b, c, t) → (b,).

    Dividing by it brings music to unit level; silence stays silence exactly.
    """
    return waveform.float().square().mean(dim=(-2, -1)).sqrt().clamp_min(FLOOR)


def stack_subbands(maps: Tensor, subbands: int) -> Tensor:
    """Cut the bins into equal subbands and stack these as channels; the Nyquist bin is left out.

    Args:
        maps: (b, c, n, f) with f = subbands · width + 1.
        subbands: their number k.

    Returns:
        (b, c·k, n, width), the bands of one channel side by side.
    """
    b, c, n, f = maps.shape
    width = (f - 1) // subbands
    bands = maps[..., : width * subbands].unflatten(-1, (subbands, width))
    return bands.transpose(2, 3).reshape(b, c * subbands, n, width)


def unstack_subbands(maps: Tensor, subbands: int) -> Tensor:
    """Invert `stack_subbands`; the Nyquist bin repeats its lower neighbour.

    Args:
        maps: (b, c·k, n, width).
        subbands: their number k.

    Returns:
        (b, c, n, k·width + 1).
    """
    b, ck, n, _ = maps.shape
    bands = maps.unflatten(1, (ck // subbands, subbands)).transpose(2, 3).reshape(b, ck // subbands, n, -1)
    return torch.cat([bands, bands[..., -1:]], dim=-1)


@dataclass(frozen=True)
class Transform:
    """STFT and its inverse at one resolution, as a model's signal chain takes them."""

    n_fft: int  # samples of a window, even
    hop: int  # samples between frames, at most n_fft / 2

    def analyse(self, waveform: Tensor) -> Tensor:
        """Complex spectrograms (b, c, n, f) of waveforms (b, c, t)."""
        return stft(waveform, self.n_fft, self.hop)

    def level(self, waveform: Tensor) -> Tensor:
        """Root mean squares (b,) of waveforms (b, c, t), see `level`."""
        return level(waveform)

    def synthesise(self, spectrum: Tensor, length: int) -> Tensor:
        """Waveforms (..., t) of complex spectrograms (..., n, f)."""
        return istft(spectrum, self.n_fft, self.hop, length)

    def within(self, maps: Tensor, length: int) -> Tensor:
        """The maps (b, c, n, f) where a waveform of `length` samples has frames: all of them."""
        return maps


class _Analysis(torch.autograd.Function):
    """Samples (signals, t) → windowed frames → spectra (signals, n, f)."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, n_fft: int, hop: int) -> Tensor:
        ctx.sizes = n_fft, hop, samples.shape[-1]
        window = hann(n_fft, samples.device, samples.dtype)
        return _analyse(samples, window, hop, frames(samples.shape[-1], hop))

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        n_fft, hop, length = ctx.sizes
        window = hann(n_fft, outputs[0].device, outputs[0].real.dtype) * (n_fft / 2)
        # The inverse transform takes each bin between the ends for two, itself and its mirror image; here each is one.
        return _synthesise(outputs[0], window, hop, length, ends=2), None, None


class _Synthesis(torch.autograd.Function):
    """Spectra (signals, n, f) → windowed frames → their overlapping sum over its envelope (signals, t)."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
        ctx.sizes = n_fft, hop, spectrum.shape[1]
        window = hann(n_fft, spectrum.device, spectrum.real.dtype)
        envelope = _envelope(n_fft, hop, spectrum.shape[1], spectrum.device, spectrum.real.dtype)
        return _synthesise(spectrum, window, hop, length, envelope)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        n_fft, hop, n = ctx.sizes
        device, dtype = outputs[0].device, outputs[0].dtype
        window, envelope = hann(n_fft, device, dtype) * (2 / n_fft), _envelope(n_fft, hop, n, device, dtype)
        gradient = _analyse(outputs[0], window, hop, n, envelope)
        gradient[..., 0] /= 2
        gradient[..., -1] /= 2
        return gradient, None, None, None


def _analyse(samples: Tensor, window: Tensor, hop: int, n: int, envelope: Tensor | None = None) -> Tensor:
    """Spectra (signals, n, f) of windowed frames, one centred on every `hop`-th of the samples (signals, t).

    The samples are divided by the envelope of that sum of frames, where there is one. Both happen to a few signals at a
    time, as everything here does: padding all of them first would copy them through memory once more.
    """
    signals, length = samples.shape
    n_fft = len(window)
    ends = n_fft // 2, (n - 1) * hop + n_fft - n_fft // 2 - length
    spectrum = samples.new_empty(signals, n, n_fft // 2 + 1, dtype=samples.dtype.to_complex())
    for piece in pieces(spectrum):
        part = samples[piece] if envelope is None else samples[piece] / _covered(envelope, n_fft, length)
        spectrum[piece] = torch.fft.rfft(F.pad(part, ends).unfold(-1, n_fft, hop) * window)
    return spectrum


def _synthesise(
    spectrum: Tensor, window: Tensor, hop: int, length: int, envelope: Tensor | None = None, ends: int = 1
) -> Tensor:
    """Undo `_analyse`: overlapping sum (signals, t) of windowed frames, of spectra whose end bins weigh `ends`-fold."""
    n_fft = len(window)
    samples = spectrum.real.new_empty(len(spectrum), length)
    for piece in pieces(spectrum):
        part = spectrum[piece]
        if ends != 1:
            part = part.clone()
            part[..., 0] *= ends
            part[..., -1] *= ends
        total = _covered(overlap_add(torch.fft.irfft(part, n_fft).mul_(window), hop), n_fft, length)
        if envelope is not None:
            total /= _covered(envelope, n_fft, length)
        reach = total.shape[-1]
        samples[piece, :reach], samples[piece, reach:] = total, 0
    return samples


def _covered(samples: Tensor, n_fft: int, length: int) -> Tensor:
    """The samples (..., t) proper of a sum of frames, the first of which is centred on the first of them."""
    return samples[..., n_fft // 2 : n_fft // 2 + length]


def overlap_add(cut: Tensor, hop: int) -> Tensor:
    """Sum frames (signals, n, n_fft), each `hop` samples after the last: (signals, (n − 1) · hop + n_fft)."""
    signals, n, n_fft = cut.shape
    parts = -(-n_fft // hop)
    # Each frame as parts of a hop, silent frames around all of them: what sounds together lies on a diagonal.
    padded = F.pad(cut, (0, parts * hop - n_fft, parts - 1, parts - 1))
    along, frame = parts * hop, n + 2 * (parts - 1)
    diagonals = padded.as_strided(
        (signals, n + parts - 1, parts, hop), (frame * along, along, along - hop, 1), (parts - 1) * hop
    )
    return diagonals.sum(dim=2).view(signals, -1)[:, : (n - 1) * hop + n_fft]


# Cached outside inference mode, or the first inference would leave tensors that training cannot use.
@lru_cache(maxsize=16)
def hann(n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Periodic Hann window (n_fft,), made once."""
    with torch.inference_mode(False):
        return torch.hann_window(n_fft, device=device, dtype=dtype)


@lru_cache(maxsize=16)
def _envelope(n_fft: int, hop: int, n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What the overlapping windows of analysis and synthesis sum to: (t,)."""
    with torch.inference_mode(False):
        return overlap_add(hann(n_fft, device, dtype).square().expand(1, n, n_fft).contiguous(), hop)[0]
