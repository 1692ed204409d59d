"""Signals between the waveform and the network: spectrograms, subbands, level, masks."""

from tfswa_unet.dsp.cached import pieces
from tfswa_unet.dsp.level import level
from tfswa_unet.dsp.masking import MASKS, apply_mask, mask_maps
from tfswa_unet.dsp.stft import frames, istft, stft
from tfswa_unet.dsp.subbands import stack_subbands, unstack_subbands

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
    "mask_maps",
]
