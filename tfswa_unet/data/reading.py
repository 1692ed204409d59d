"""Stems read from tracks: crops summed, resampled and matched in channels, and the tracks that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import gcd

import numpy as np
import torch
from torch import Tensor

from tfswa_unet import audio
from tfswa_unet.data.cache.pcm import SUFFIX, read_header, read_into, read_pcm
from tfswa_unet.data.stems import REMAINDER, StemPlan, source_names
from tfswa_unet.data.tracks import OnError
from tfswa_unet.errors import ConfigError, DataError, UserError
from tfswa_unet.types import Source, Track

BLOCK = 1 << 15  # samples
# Source samples read on both sides of a crop before it is resampled: more than the resampling filter reaches.
CONTEXT = 1024

log = logging.getLogger(__name__)


class StemReader:
    """Stems of a plan read from tracks, at one rate and number of channels.

    `names` are the plan's stems, followed by "_rest" where the plan leaves sources out, so that the mixture is always
    the sum over all of them; the first `targets` of them are the plan's. A source that a track lacks is silent there.
    """

    def __init__(self, tracks: Sequence[Track], stems: StemPlan, rate: int, channels: int) -> None:
        if not tracks:
            raise DataError("There are no tracks to read from: expected at least one.")
        if rate < 1 or channels < 1:
            raise ConfigError(f"rate {rate} Hz and {channels} channels were asked for, expected both to be 1 or more.")
        for track in tracks:
            if not track.sources:
                raise DataError(
                    f"The track {track.name!r} and its like have no stems, from which is learned here: choose songs "
                    "that have them, or learn from mixtures alone by teacher=MODEL or task=pretrain."
                )
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
        """Numbers of the tracks that have anything of a stem; in the others it is silent."""
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
        # In a cache, and as this reader gives it.
        if (
            track.rate == self.rate
            and source.path.suffix == SUFFIX
            and read_header(source.path).channels in (1, self.channels)
        ):
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

    def _read(self, track: Track, name: str, start: int, size: int) -> np.ndarray:
        source = track.sources[name]
        if track.rate == self.rate:
            return read_source(source, start, min(size, track.length - start))
        # A crop that starts on a multiple of `down` lands on the resampled song's own grid, `up` samples for each.
        divisor = gcd(track.rate, self.rate)
        down, up = track.rate // divisor, self.rate // divisor
        block = max(0, start * down // up - CONTEXT) // down
        first, last = block * down, min(track.length, -(-(start + size) * down // up) + CONTEXT)
        crop = audio.resample(read_source(source, first, last - first), track.rate, self.rate)
        return crop[:, start - block * up :][:, :size]


class Faults:
    """Tracks that could not be read, known to all processes that read them.

    With `on_error` "skip" each is logged once, in a sentence.
    """

    def __init__(self, tracks: Sequence[Track], on_error: OnError = "raise") -> None:
        self.on_error = on_error
        self._names = tuple(track.name for track in tracks)
        self._seen = torch.zeros(len(tracks), dtype=torch.bool).share_memory_()

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks that could not be read so far."""
        return tuple(name for name, seen in zip(self._names, self._seen.tolist(), strict=True) if seen)

    def summary(self) -> str | None:
        """Sentence on how many tracks could not be read, and which; None where there was none."""
        if not self.tracks:
            return None
        return f"{len(self.tracks)} of {len(self._names)} tracks could not be read: {', '.join(self.tracks)}."

    @contextmanager
    def of(self, track: int) -> Iterator[None]:
        """Record an error inside as a fault of track number `track`, and raise it again."""
        try:
            yield
        except UserError as error:
            if self.on_error == "skip" and not self._seen[track]:
                self._seen[track] = True
                log.warning("track %r: %s; others take its place (data.on_error=skip)", self._names[track], error)
            raise

    def first(self, attempts: Iterable[Callable[[], Tensor]]) -> Tensor:
        """Result of the first attempt that does not fail; with "raise", of the first attempt or its error.

        Raises DataError where all attempts fail.
        """
        last: UserError | None = None
        for attempt in attempts:
            try:
                return attempt()
            except UserError as error:
                if self.on_error == "raise":
                    raise
                last = error
        raise DataError(f"No track could be read, although data.on_error=skip tried others; the last fault: {last}")


def read_source(source: Source, start: int = 0, length: int | None = None) -> np.ndarray:
    """Read samples `start` to `start + length` of a stem, (c, t) in float32, summed over its files or from a cache.

    `length` counts samples at the files' rate and must lie inside the track; None goes to the end of a stem of audio
    files. A file that ends before is silent from there on, and a mono file among stereo ones plays on both sides.
    Raises AudioError for what cannot be read and DataError for a damaged cache.
    """
    if length is not None and source.path.suffix == SUFFIX:
        return read_pcm(source.path, start, length)
    if length is None:
        if source.length is None and not source.more:
            return audio.read(source.path, source.start + start, None, source.stream)
        length = max(_part_length(part) for part in source.parts) - start
    pieces = [_read_part(part, start, length) for part in source.parts]
    if len(pieces) == 1 and pieces[0].shape[1] == length:
        return pieces[0]
    total = np.zeros((max(piece.shape[0] for piece in pieces), length), np.float32)
    for piece in pieces:
        total[:, : piece.shape[1]] += piece
    return total


def is_below(audio: np.ndarray, level: float) -> bool:
    """Whether the RMS of audio (c, t), float32, over all of it lies below a level in dB full scale."""
    limit, energy = 10 ** (level / 10) * audio.size, 0.0
    for channel in audio:
        for start in range(0, len(channel), BLOCK):
            block = channel[start : start + BLOCK]
            energy += float(np.dot(block, block))
            # What is not silent is mostly known from its first block.
            if energy >= limit:
                return False
    return True


def match_channels(audio: np.ndarray, channels: int, name: str) -> np.ndarray:
    """Average audio (c, t) to 1 channel where `channels` is 1; otherwise it has that many already, or 1 to be copied.

    Raises DataError, which calls the audio `name`, for any other number of channels.
    """
    check_channels(audio.shape[0], channels, name)
    return audio.mean(axis=0, keepdims=True) if channels == 1 < audio.shape[0] else audio


def check_channels(found: int, channels: int, name: str) -> None:
    """Raise DataError where audio of `found` channels cannot be brought to `channels`."""
    if found not in (1, channels) and channels != 1:
        raise DataError(f"The {name} has {found} channels, expected 1 or {channels}: mix it down or remove the track.")


def stem_name(stem: str, track: str) -> str:
    """What messages call a stem of a track."""
    return f"stem {stem!r} of track {track!r}"


def _read_part(part: Source, start: int, length: int) -> np.ndarray:
    if part.length is not None:
        length = min(length, part.length - start)
    if length <= 0:
        return np.zeros((1, 0), np.float32)
    return audio.read(part.path, part.start + start, length, part.stream)


def _part_length(part: Source) -> int:
    return audio.probe(part.path, part.stream).length - part.start if part.length is None else part.length
