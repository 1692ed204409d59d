"""Short-time Fourier transform with frames before bins, for any leading axes."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def _window(n_fft: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    # Cached outside inference mode, or the first inference would leave a window that training cannot use.
    with torch.inference_mode(False):
        return torch.hann_window(n_fft, device=device, dtype=dtype)


def frames(length: int, hop: int) -> int:
    """Number of frames n that `stft` gives for `length` samples."""
    return length // hop + 1


def stft(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Transform waveforms with a Hann window, one frame centred on every `hop`-th sample.

    Runs in float32 (float64 stays) whatever the autocast state. The ends are padded with zeros, so that any length
    from one sample on works.

    Args:
        waveform: (..., t).
        n_fft: window length in samples.
        hop: samples between frames.

    Returns:
        complex spectrogram (..., n, f), n = t // hop + 1, f = n_fft // 2 + 1.
    """
    leading, t = waveform.shape[:-1], waveform.shape[-1]
    flat = waveform.reshape(-1, t)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    with torch.autocast(flat.device.type, enabled=False):
        spectrum = torch.stft(
            flat,
            n_fft,
            hop,
            window=_window(n_fft, flat.device, flat.dtype),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
    return spectrum.transpose(-1, -2).reshape(*leading, -1, n_fft // 2 + 1)


def istft(spectrum: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Invert `stft`: the least-squares waveform of a spectrogram.

    Args:
        spectrum: complex (..., n, f).
        n_fft: window length in samples.
        hop: samples between frames.
        length: samples t to return.

    Returns:
        waveform (..., t).
    """
    leading, (n, f) = spectrum.shape[:-2], spectrum.shape[-2:]
    flat = spectrum.reshape(-1, n, f).transpose(-1, -2)
    window = _window(n_fft, flat.device, flat.real.dtype)
    with torch.autocast(flat.device.type, enabled=False):
        return torch.istft(flat, n_fft, hop, window=window, center=True, length=length).reshape(*leading, length)
