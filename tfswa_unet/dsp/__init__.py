"""Signals between the waveform and the network: spectrograms, subbands, level, masks."""

from tfswa_unet.dsp.auditory import auditory_bands
from tfswa_unet.dsp.masking import MASKS, Mask, Ratios, apply_mask, joined, mask
from tfswa_unet.dsp.parts import Complex, Parts
from tfswa_unet.dsp.real_spectrogram import RealFFT, RealTransform
from tfswa_unet.dsp.spectrogram import (
    FLOOR,
    Transform,
    frames,
    istft,
    level,
    pieces,
    stack_subbands,
    stft,
    stft_pieces,
    unstack_subbands,
)
from tfswa_unet.dsp.streamed import StreamTransform
from tfswa_unet.dsp.wiener import apply_filter, wiener_filter

__all__ = [
    "frames",
    "istft",
    "stft",
    "stft_pieces",
    "pieces",
    "stack_subbands",
    "unstack_subbands",
    "FLOOR",
    "level",
    "auditory_bands",
    "wiener_filter",
    "apply_filter",
    "MASKS",
    "Ratios",
    "apply_mask",
    "Mask",
    "mask",
    "joined",
    "Complex",
    "Parts",
    "Transform",
    "StreamTransform",
    "RealTransform",
    "RealFFT",
]
