"""Crops of stems as a model wants them: its stems, its rate, its channels, its length."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.cache.pcm import SUFFIX, read_pcm
from tfswa_unet.data.channels import match_channels, stem_name
from tfswa_unet.data.sources import read_source
from tfswa_unet.data.stems import REMAINDER, StemPlan, source_names
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.types import Source, Track

# Source samples read on both sides of a crop before it is resampled: more than the resampling filter reaches.
CONTEXT = 1024


class StemReader:
    """Reads the stems of a plan from tracks, at one rate and number of channels.

    `names` are the plan's stems, followed by "_rest" where the plan leaves sources out, so that the mixture is always
    the sum over all of them; the first `targets` of them are the plan's. A source that a track lacks is silent there.
    """

    def __init__(self, tracks: Sequence[Track], stems: StemPlan, rate: int, channels: int) -> None:
        if not tracks:
            raise DataError("There are no tracks to read from: expected at least one.")
        if rate < 1 or channels < 1:
            raise ConfigError(f"rate {rate} Hz and {channels} channels were asked for, expected both to be 1 or more.")
        available = source_names(tracks)
        sources = stems.resolve(available)
        self.targets = len(sources)
        if remainder := stems.remainder(available):
            sources[REMAINDER] = remainder
        self.names = tuple(sources)
        self.tracks = tuple(tracks)
        self.rate = rate
        self.channels = channels
        self.lengths = tuple(-(-track.length * rate // track.rate) for track in tracks)  # in samples at `rate`
        self._sources = tuple(sources.values())

    def holders(self, stem: int) -> tuple[int, ...]:
        """Return the tracks that have anything of a stem; in the others it is silent."""
        wanted = set(self._sources[stem])
        return tuple(number for number, track in enumerate(self.tracks) if wanted & set(track.sources))

    def add(self, crop: np.ndarray, track: int, stem: int, start: int) -> None:
        """Add one stem's samples from `start` on, at the reader's rate, to `crop` (c, t); nothing past the stem's end.

        Raises AudioError for what cannot be read and DataError for a number of channels that cannot be matched.
        """
        for name in self._sources[stem]:
            if name in self.tracks[track].sources:
                found = self._read(self.tracks[track], name, start, crop.shape[-1])
                crop[:, : found.shape[-1]] += match_channels(
                    found, self.channels, stem_name(name, self.tracks[track].name)
                )

    def _read(self, track: Track, name: str, start: int, size: int) -> np.ndarray:
        source = track.sources[name]
        if track.rate == self.rate:
            return read(source, start, min(size, track.length - start))
        # A crop that starts on a multiple of `down` lands on the resampled song's own grid, `up` samples for each.
        divisor = gcd(track.rate, self.rate)
        down, up = track.rate // divisor, self.rate // divisor
        block = max(0, start * down // up - CONTEXT) // down
        first, last = block * down, min(track.length, -(-(start + size) * down // up) + CONTEXT)
        crop = audio.resample(read(source, first, last - first), track.rate, self.rate)
        return crop[:, start - block * up :][:, :size]


def read(source: Source, start: int, length: int) -> np.ndarray:
    """Return samples `start` to `start + length` of a stem, (c, t) in float32, from the cache where it is in one.

    Raises AudioError for what cannot be read and DataError for a damaged cache.
    """
    if source.path.suffix == SUFFIX:
        return read_pcm(source.path, start, length)
    return read_source(source, start, length)
