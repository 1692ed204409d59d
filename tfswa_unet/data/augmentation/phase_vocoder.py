"""Longer or shorter at the same pitch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from tfswa_unet.dsp import frames, istft, stft

LOBE = 2  # bins that a partial under a Hann window reaches to each side


def stretch(waveform: Tensor, rate: float, n_fft: int = 2048, hop: int = 512) -> Tensor:
    """Play a waveform `rate` times as fast at the same pitch.

    A phase vocoder (doi:10.1002/j.1538-7305.1966.tb01706.x). Frames that follow each other in the input keep their
    phases. Where one is repeated or left out, all that follows turns by what the phase should have advanced less what
    it did, every bin with its strongest neighbours (loose phase locking, doi:10.1109/ASPAA.1995.482995). The channels
    of one signal turn alike, which keeps the stereo image: their products from frame to frame are summed, so that
    channels in opposite phase do not cancel. A rate of 1 gives back the input.

    Args:
        waveform: (..., c, t).
        rate: speed; 0.9 is slower and longer.
        n_fft: window length in samples.
        hop: samples between frames.

    Returns:
        (..., c, round(t / rate)).
    """
    length = round(waveform.shape[-1] / rate)
    spectrum = stft(waveform, n_fft, hop)
    last = spectrum.shape[-2] - 1
    position = torch.arange(frames(length, hop), dtype=torch.float64) * rate
    frame = position.long().clamp(max=last)
    share = (position - frame).clamp(max=1).to(waveform)[:, None]
    here, there = _pick(spectrum, frame), _pick(spectrum, (frame + 1).clamp(max=last))

    product = _product(here, there)
    blended = (1 - share) * here + share * there * _unit(product).conj()
    jump = frame.diff() != 1
    at = jump.nonzero().flatten()
    brought = _unit(_product(_pick(here, at), _pick(here, at + 1)))
    turns = _turns(_pick(product, at) * brought.conj())
    return istft(blended * _pick(turns, pad(jump.cumsum(0), (1, 0))), n_fft, hop, length)


def _pick(spectrum: Tensor, index: Tensor) -> Tensor:
    return spectrum.index_select(-2, index.to(spectrum.device))


def _turns(steps: Tensor) -> Tensor:
    """Accumulate the turns from the steps (..., jumps, f), which are as long as their bins are strong.

    After each step a bin turns with its strongest neighbours. Bins that left an onset with phases of their own would
    otherwise never meet again, which costs a partial up to a decibel and sounds hollow.
    """
    turns = [torch.ones_like(steps[..., :1, :].sum(-2))]
    for step in steps.unbind(-2):
        turns.append(_unit(pad(turns[-1] * step, (LOBE, LOBE)).unfold(-1, 2 * LOBE + 1, 1).sum(-1)))
    return torch.stack(turns, -2)


def _product(earlier: Tensor, later: Tensor) -> Tensor:
    return (later * earlier.conj()).sum(-3, keepdim=True)


def _unit(value: Tensor) -> Tensor:
    return torch.where(value == 0, 1, value.sgn())


def fit(waveform: Tensor, length: int) -> Tensor:
    """Cut a waveform (..., t) to `length` samples, or fill it up with zeros."""
    return pad(waveform[..., :length], (0, max(0, length - waveform.shape[-1])))
