"""Crops of stems as a model wants them: its stems, its rate, its channels, its length."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.cache.pcm import SUFFIX, read_header, read_into, read_pcm
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

    def fill(self, crop: np.ndarray, track: int, stem: int, start: int, add: bool = False) -> None:
        """Write one stem's samples from `start` on, at the reader's rate, to `crop` (c, t), or add them to it.

        What the track lacks, and what follows its end, is silent. Raises AudioError for what cannot be read and
        DataError for a number of channels that cannot be matched.
        """
        held = self.tracks[track]
        present = [name for name in self._sources[stem] if name in held.sources]
        if not (present or add):
            crop[:] = 0
        for name in present:
            self._put(crop, held, name, start, add)
            add = True

    def _put(self, crop: np.ndarray, track: Track, name: str, start: int, add: bool) -> None:
        source, size = track.sources[name], crop.shape[-1]
        if self._is_ready(track, source):
            # Converted where it is wanted: every pass over a crop costs as much as its reading.
            size = max(0, min(size, track.length - start))
            read_into(source.path, start, crop[:, :size], add)
        else:
            found = self._read(track, name, start, size)
            matched = match_channels(found, self.channels, stem_name(name, track.name))
            size = matched.shape[-1]
            crop[:, :size] = matched + crop[:, :size] if add else matched
        if not add:
            crop[:, size:] = 0

    def _is_ready(self, track: Track, source: Source) -> bool:
        """Whether a stem lies in a cache at this reader's rate and channels."""
        if track.rate != self.rate or source.path.suffix != SUFFIX:
            return False
        return read_header(source.path).channels in (1, self.channels)

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
