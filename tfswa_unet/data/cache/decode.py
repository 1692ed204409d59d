"""Decoding of a stem to one PCM file of a cache, at the rate and channels of a model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.cache.pcm import CHUNK, LEVELS, size_in_bytes, step, write_pcm
from tfswa_unet.data.reading import match_channels, read_source
from tfswa_unet.errors import AudioError, DataError
from tfswa_unet.files import replacing
from tfswa_unet.types import Source

BLOCK = 1 << 21  # samples at a time of a source that is put together from several stretches


@dataclass(frozen=True)
class Stem:
    """A stem of `length` samples at `rate` Hz, and its file in a cache, (c, t) at `target_rate` Hz."""

    name: str
    path: Path
    source: Source
    rate: int
    length: int
    channels: int
    target_rate: int

    @property
    def target_length(self) -> int:
        """Samples per channel at the target rate."""
        return -(-self.length * self.target_rate // self.rate)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return size_in_bytes(self.channels, self.target_length)

    @property
    def is_made(self) -> bool:
        """Whether the file is there and of the right size: it takes its name only when it is complete."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


def write_stem(stem: Stem) -> None:
    """Decode a stem to its file, which has its name when it is complete.

    Memory does not grow with the duration. Raises AudioError for what cannot be decoded or is not as long as it
    was, and DataError for a cache that cannot be written.
    """
    try:
        with replacing(stem.path) as temporary, tempfile.TemporaryFile(dir=stem.path.parent) as spool:
            scale = step(*_spool(stem, spool))
            write_pcm(temporary, _chunks(spool), stem.target_rate, stem.channels, stem.target_length, scale)
    except OSError as error:
        raise DataError(
            f"The cache {stem.path.parent} cannot be written ({error.strerror}): make room there, or choose another "
            "folder; what is done stays done."
        ) from None


def _spool(stem: Stem, spool: BinaryIO) -> tuple[float, bool]:
    """Write the samples as float32, channel after channel; give their peak and whether 16 bits hold them exactly."""
    peak, is_16_bit, position = 0.0, True, 0
    for block in _resampled(stem):
        for channel, samples in enumerate(block):
            spool.seek(4 * (channel * stem.target_length + position))
            spool.write(np.ascontiguousarray(samples).tobytes())
        position += block.shape[1]
        peak = max(peak, float(np.abs(block).max(initial=0)))
        is_16_bit = is_16_bit and _is_16_bit(block)
    if position != stem.target_length:
        raise AudioError(
            f"{stem.source.path} gave {position} samples at {stem.target_rate} Hz, expected {stem.target_length}: "
            "it was changed meanwhile, run again."
        )
    return peak, is_16_bit


def _is_16_bit(block: np.ndarray) -> bool:
    levels = block * np.float32(LEVELS)
    return bool(((levels == np.rint(levels)) & (levels >= -LEVELS) & (levels < LEVELS)).all())


def _chunks(spool: BinaryIO) -> Iterator[np.ndarray]:
    spool.seek(0)
    while data := spool.read(4 * CHUNK):
        yield np.frombuffer(data, np.float32)


def _resampled(stem: Stem) -> Iterator[np.ndarray]:
    resampler = audio.StreamResampler(stem.rate, stem.target_rate, stem.channels)
    for block in _decoded(stem):
        matched = match_channels(block, stem.channels, stem.name)
        yield resampler.push(np.broadcast_to(matched, (stem.channels, block.shape[1])))
    yield resampler.flush()


def _decoded(stem: Stem) -> Iterator[np.ndarray]:
    source = stem.source
    if len(source.parts) == 1 and source.start == 0 and source.length is None:
        yield from audio.blocks(source.path, CHUNK, source.stream)
        return
    for start in range(0, stem.length, BLOCK):
        yield read_source(source, start, min(BLOCK, stem.length - start))
