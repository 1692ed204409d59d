"""What training minimises: named terms on stems, and their weighted sum."""

from tfswa_unet.losses.objective import WeightedLoss, compare_stems, estimate_stems, objective
from tfswa_unet.losses.terms import TERMS, Signals, magnitude_l1, multi_resolution_stft, spectrum_l1, waveform_l1

__all__ = [
    "Signals",
    "WeightedLoss",
    "objective",
    "estimate_stems",
    "compare_stems",
    "TERMS",
    "magnitude_l1",
    "multi_resolution_stft",
    "spectrum_l1",
    "waveform_l1",
]
