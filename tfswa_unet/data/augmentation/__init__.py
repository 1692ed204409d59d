"""Augmentations of stems (b, s, c, t): each a module, active in training only; the mixture is summed afterwards."""

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.compose import AUGMENTATIONS, Compose, build_augmentation, split
from tfswa_unet.data.augmentation.effects import Distortion, Equaliser, Reverb
from tfswa_unet.data.augmentation.levels import ChannelSwap, Gain, Loudness, Polarity, lufs
from tfswa_unet.data.augmentation.masks import FrequencyMask, TimeMask
from tfswa_unet.data.augmentation.mp3 import Mp3
from tfswa_unet.data.augmentation.pitch import Pitch, TimeStretch, shift, stretch
from tfswa_unet.data.augmentation.remix import Bleed, Mixup, Remix

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Bleed",
    "ChannelSwap",
    "Compose",
    "Distortion",
    "Equaliser",
    "FrequencyMask",
    "Gain",
    "Loudness",
    "Mixup",
    "Mp3",
    "Pitch",
    "Polarity",
    "Remix",
    "Reverb",
    "TimeMask",
    "TimeStretch",
    "build_augmentation",
    "lufs",
    "shift",
    "split",
    "stretch",
]
