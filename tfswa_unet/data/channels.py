"""Mono, stereo and what cannot be made of them."""

from __future__ import annotations

import numpy as np

from tfswa_unet.errors import DataError


def match_channels(audio: np.ndarray, channels: int, name: str) -> np.ndarray:
    """Return audio (c, t) with `channels` channels, or with 1, to be copied to all; to 1 channel it is averaged.

    Raises DataError, which calls the audio `name`, for any other number of channels.
    """
    check_channels(audio.shape[0], channels, name)
    return audio.mean(axis=0, keepdims=True) if channels == 1 < audio.shape[0] else audio


def check_channels(found: int, channels: int, name: str) -> None:
    """Raise DataError where audio of `found` channels cannot be brought to `channels`."""
    if found not in (1, channels) and channels != 1:
        raise DataError(f"The {name} has {found} channels, expected 1 or {channels}: mix it down or remove the track.")


def stem_name(stem: str, track: str) -> str:
    """Return what messages call a stem of a track."""
    return f"stem {stem!r} of track {track!r}"
