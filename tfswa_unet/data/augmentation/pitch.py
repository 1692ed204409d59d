"""Pitch shift and time stretch by a phase vocoder."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import resample

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation
from tfswa_unet.dsp import frames, istft, stft

LOBE = 2  # bins that a partial under a Hann window reaches to each side
# Denominators up to this are within a cent of every interval, and keep the resampling filters short.
DENOMINATOR = 64


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
    # Numbers too small to have all their digits have no phase to keep, and torch divides some to infinity.
    size = value.abs()
    return torch.where(size < torch.finfo(size.dtype).tiny, 1, value.sgn())


def fit(waveform: Tensor, length: int) -> Tensor:
    """Cut a waveform (..., t) to `length` samples, or fill it up with zeros."""
    return pad(waveform[..., :length], (0, max(0, length - waveform.shape[-1])))


@AUGMENTATIONS.register("pitch")
class Pitch(Augmentation):
    """Pitch shift of each chosen example by up to `semitones`, up or down, at the same tempo.

    One interval for all stems of an example with `together`, so that they stay in tune, else one a stem. The stem is
    stretched by a phase vocoder and resampled back to its length, which costs as much as `TimeStretch`.

    Shapes: (b, s, c, t) → the same. Raises ConfigError for semitones out of 0 to 12.
    """

    in_workers = True

    def __init__(self, *, p: float, semitones: float, together: bool, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        self.semitones = self.within("semitones", semitones, 0, 12)
        self.together = together

    def augment(self, stems: Tensor) -> Tensor:
        return _change_examples(self, stems, self.together, (-self.semitones, self.semitones), shift)


def shift(waveform: Tensor, semitones: float) -> Tensor:
    """Shift the pitch of a waveform (..., c, t) by `semitones`, within a cent, at the same tempo and length."""
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(DENOMINATOR)
    longer = stretch(waveform, float(1 / ratio))
    return fit(resample(longer, ratio.numerator, ratio.denominator), waveform.shape[-1])


@AUGMENTATIONS.register("time_stretch")
class TimeStretch(Augmentation):
    """Time stretch of each chosen example by a rate drawn from `low` to `high`, at the same pitch.

    One rate for all stems of an example with `together`, else one a stem. What is too long is cut off, what is too
    short ends in zeros. Only the chosen examples are computed, one by one, which bounds the memory; each costs about
    four times an STFT and its inverse, by far more than the augmentations that only scale or swap.

    Shapes: (b, s, c, t) → the same. Raises ConfigError for rates out of order or not above 0.
    """

    in_workers = True

    def __init__(
        self, *, p: float, low: float, high: float, together: bool, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.low = self.within("low", low, 0.25)
        self.high = self.within("high", high, low, 4)
        self.together = together

    def augment(self, stems: Tensor) -> Tensor:
        def change(waveform: Tensor, rate: float) -> Tensor:
            return fit(stretch(waveform, rate), waveform.shape[-1])

        return _change_examples(self, stems, self.together, (self.low, self.high), change)


def _change_examples(
    augmentation: Augmentation,
    stems: Tensor,
    together: bool,
    amounts: tuple[float, float],
    change: Callable[[Tensor, float], Tensor],
) -> Tensor:
    """Apply `change` with an amount of its own to each chosen example (s, c, t), or to each stem unless `together`."""

    def change_each(chosen: Tensor) -> Tensor:
        drawn = augmentation.uniform(*amounts, len(chosen)).tolist()
        return torch.stack([change(waveform, amount) for waveform, amount in zip(chosen, drawn, strict=True)])

    return (augmentation.to_chosen if together else augmentation.to_chosen_stems)(stems, change_each)
