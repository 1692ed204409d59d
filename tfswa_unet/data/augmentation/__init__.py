"""Augmentations of stems (b, s, c, t): each a module, active in training only; the mixture is summed afterwards."""

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.bleed import Bleed
from tfswa_unet.data.augmentation.channel_swap import ChannelSwap
from tfswa_unet.data.augmentation.compose import AUGMENTATIONS, Compose, build_augmentation, split
from tfswa_unet.data.augmentation.distortion import Distortion
from tfswa_unet.data.augmentation.equaliser import Equaliser
from tfswa_unet.data.augmentation.frequency_mask import FrequencyMask
from tfswa_unet.data.augmentation.gain import Gain
from tfswa_unet.data.augmentation.loudness import Loudness
from tfswa_unet.data.augmentation.lufs import lufs
from tfswa_unet.data.augmentation.mixup import Mixup
from tfswa_unet.data.augmentation.mp3 import Mp3
from tfswa_unet.data.augmentation.phase_vocoder import stretch
from tfswa_unet.data.augmentation.pitch import Pitch, shift
from tfswa_unet.data.augmentation.polarity import Polarity
from tfswa_unet.data.augmentation.remix import Remix
from tfswa_unet.data.augmentation.reverb import Reverb
from tfswa_unet.data.augmentation.time_mask import TimeMask
from tfswa_unet.data.augmentation.time_stretch import TimeStretch

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
