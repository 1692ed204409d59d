"""What training minimises: named terms on stems, and their weighted sum."""

from tfswa_unet.losses.signals import Signals
from tfswa_unet.losses.terms import TERMS, WeightedLoss, magnitude_l1, multi_resolution_stft, spectrum_l1, waveform_l1

__all__ = [
    "Signals",
    "WeightedLoss",
    "TERMS",
    "magnitude_l1",
    "multi_resolution_stft",
    "spectrum_l1",
    "waveform_l1",
]
