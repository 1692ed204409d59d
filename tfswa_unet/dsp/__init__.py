"""Signals between the waveform and the network: spectrograms, subbands, level, masks."""

from tfswa_unet.dsp.fourier import frames, istft, pieces, stft
from tfswa_unet.dsp.maps import level, stack_subbands, unstack_subbands
from tfswa_unet.dsp.masking import MASKS, Mask, apply_mask, mask

__all__ = [
    "frames",
    "istft",
    "stft",
    "pieces",
    "stack_subbands",
    "unstack_subbands",
    "level",
    "MASKS",
    "apply_mask",
    "Mask",
    "mask",
]
