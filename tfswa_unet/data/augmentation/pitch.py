"""Songs in another key."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torchaudio.functional import resample

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.phase_vocoder import fit, stretch

# Denominators up to this are within a cent of every interval, and keep the resampling filters short.
DENOMINATOR = 64


class Pitch(Augmentation):
    """Moves the pitch of each chosen example by up to `semitones`, up or down, not its tempo.

    One interval for all stems of an example with `together`, so that they stay in tune, else one a stem. The stem is
    stretched by a phase vocoder and resampled back to its length, which costs as much as `TimeStretch`.

    Shapes: (b, s, c, t) → the same. Raises ConfigError for semitones out of 0 to 12.
    """

    in_workers = True

    def __init__(
        self, p: float = 0.2, semitones: float = 2, together: bool = True, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator)
        self.semitones = self.within("semitones", semitones, 0, 12)
        self.together = together

    def augment(self, stems: Tensor) -> Tensor:
        groups = stems if self.together else stems.flatten(0, 1)
        intervals = self.uniform(-self.semitones, self.semitones, len(groups)).tolist()
        chosen = self.chosen(len(groups)).nonzero().flatten().tolist()
        if not chosen:
            return stems
        groups = groups.clone()
        for i in chosen:
            groups[i] = shift(groups[i], intervals[i])
        return groups.view_as(stems)


def shift(waveform: Tensor, semitones: float) -> Tensor:
    """Move the pitch of a waveform (..., c, t) by `semitones`, within a cent, at the same tempo and length."""
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(DENOMINATOR)
    longer = stretch(waveform, float(1 / ratio))
    return fit(resample(longer, ratio.numerator, ratio.denominator), waveform.shape[-1])
