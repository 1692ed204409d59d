"""Augmentations of stems (b, s, c, t): each a module, active in training only; the mixture is summed afterwards."""

from tfswa_unet.config import discover
from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation, Compose, Config, build_augmentation, split

discover(__name__)

__all__ = ["AUGMENTATIONS", "Augmentation", "Compose", "Config", "build_augmentation", "split"]
