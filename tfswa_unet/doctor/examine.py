"""Measurements of the files of a song: format, level, clipping, envelope, digest, and the sum of the stems."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.errors import UserError
from tfswa_unet.types import MIXTURE, Source

FRAMES_PER_SECOND = 10
FULL_SCALE = 1 - 2**-15  # the largest value of 16 bits
RUN = 3  # equal samples at full scale: two happen at an honest peak
BLOCK = 1 << 16  # samples
FLOOR = 1e-30  # of an energy, so that the residual of exact sums is a number


@dataclass(frozen=True)
class FileFacts:
    """Measurements of one audio stream, decoded to its end with NaN and infinity counted and taken as 0."""

    rate: int  # Hz
    channels: int
    length: int  # samples per channel
    codec: str
    nonfinite: int  # samples that are NaN or infinite
    first_nonfinite: int  # sample; 0 where there is none
    offset: float  # the mean of the channel that is furthest from zero
    clipped: int  # runs of equal samples at full scale
    first_clipped: int  # sample
    envelope: np.ndarray  # (2, frames): RMS of the sound and of its slope
    digest: str  # of the decoded samples


@dataclass(frozen=True)
class SumFacts:
    """Residual of the mixture and the sum of the stems, in dB of the mixture's energy."""

    residual: float  # mixture less sum
    gain: float  # of the sum where it comes nearest to the mixture
    residual_at_gain: float  # mixture less the sum at that gain


@dataclass(frozen=True)
class SongFacts:
    """Measurements of a song: its decoded files, the faults of those that cannot be read, and the sum of its stems."""

    song: Song
    files: Mapping[str, FileFacts]
    unreadable: Mapping[str, str]
    sum: SumFacts | None = None


def song_files(song: Song) -> dict[str, Source]:
    """Files of a song by the name of the stem, the mixture last; "stem (file)" where a stem has several."""
    stems = {**song.sources, **({MIXTURE: song.mixture} if song.mixture else {})}
    return {
        stem if not source.more else f"{stem} ({part.path.name})": part
        for stem, source in stems.items()
        for part in source.parts
    }


def examine(song: Song) -> SongFacts:
    """Decode and measure all files of a song; memory does not grow with its length but for 80 bytes a second.

    Nothing is raised for a file that cannot be read: it is told in `unreadable`.
    """
    files = song_files(song)
    decoding = {name: _measured(source) for name, source in files.items()}
    found: dict[str, FileFacts] = {}
    unreadable: dict[str, str] = {}
    addition = _Addition()
    while decoding:
        blocks = {}
        for name, measured in list(decoding.items()):
            try:
                blocks[name] = next(measured)
                continue
            except StopIteration as end:
                found[name] = end.value
            except UserError as error:
                unreadable[name] = str(error)
            except Exception as error:  # whatever a broken file makes of a decoder, the other files are still examined
                unreadable[name] = f"{files[name].path}: cannot be decoded ({type(error).__name__}: {error})"
            del decoding[name]
        if MIXTURE in blocks:
            addition.show(blocks)
    # In the order of the files, not of their ends.
    found = {name: found[name] for name in files if name in found}
    unreadable = {name: unreadable[name] for name in files if name in unreadable}
    rates, lengths = ({getattr(facts, what) for facts in found.values()} for what in ("rate", "length"))
    comparable = not unreadable and len(rates) == 1 and (len(lengths) == 1 or song.ragged)
    return SongFacts(song, found, unreadable, addition.facts() if comparable else None)


class FileGauge:
    """Measures one audio stream, block by block."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate, self.channels, self.length = rate, channels, 0
        self._nonfinite, self._first_nonfinite = 0, 0
        self._total = np.zeros(channels)
        self._clipping = _Clipping(channels)
        self._envelope = _Envelope(rate, channels)
        self._digest = hashlib.blake2b(f"{rate} {channels}".encode(), digest_size=16)

    def show(self, block: np.ndarray) -> np.ndarray:
        """Measure the next block (c, t); returns it with zeros for what is not finite."""
        highest = max(float(block.max()), -float(block.min()))
        if not np.isfinite(highest):
            bad = ~np.isfinite(block)
            if not self._nonfinite:
                self._first_nonfinite = self.length + int(np.argmax(bad.any(axis=0)))
            self._nonfinite += int(bad.sum())
            block = np.where(bad, np.float32(0), block)
            highest = float(np.abs(block).max())
        self._total += block.sum(axis=1, dtype=np.float64)
        self._clipping.show(block, self.length, highest)
        self._envelope.show(block, self.length)
        # -0.0 and 0.0 sound the same; sample by sample, so that the sizes of the blocks do not matter.
        self._digest.update(np.ascontiguousarray(block.T + np.float32(0)).data)
        self.length += block.shape[1]
        return block

    def facts(self, codec: str) -> FileFacts:
        """Measurements over all blocks."""
        means = self._total / max(1, self.length)
        return FileFacts(
            rate=self.rate,
            channels=self.channels,
            length=self.length,
            codec=codec,
            nonfinite=self._nonfinite,
            first_nonfinite=self._first_nonfinite,
            offset=float(means[np.argmax(np.abs(means))]),
            clipped=self._clipping.runs,
            first_clipped=self._clipping.first,
            envelope=self._envelope.levels(self.length),
            digest=self._digest.hexdigest(),
        )


class _Clipping:
    def __init__(self, channels: int) -> None:
        self.runs, self.first = 0, 0
        self._tail = np.zeros((channels, RUN), np.float32)

    def show(self, block: np.ndarray, position: int, highest: float) -> None:
        if highest >= FULL_SCALE:
            joined = np.concatenate([self._tail, block], axis=1)
            flat = (np.abs(joined[:, 1:]) >= FULL_SCALE) & (joined[:, 1:] == joined[:, :-1])
            # The third equal sample, counted once however long the run goes on.
            third = flat[:, 2:] & flat[:, 1:-1] & ~flat[:, :-2]
            if not self.runs and third.any():
                self.first = position + int(np.argmax(third.any(axis=0))) - RUN + 1
            self.runs += int(third.sum())
        self._tail = np.concatenate([self._tail, block[:, -RUN:]], axis=1)[:, -RUN:]


class _Envelope:
    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._before = np.zeros((channels, 1), np.float32)
        self._sums: list[np.ndarray] = []

    def show(self, block: np.ndarray, position: int) -> None:
        slope = np.diff(block, axis=1, prepend=self._before)
        energies = np.stack([np.einsum("ct,ct->t", part, part) for part in (block, slope)]) / len(block)
        starts = self._starts(position * FRAMES_PER_SECOND // self._rate, position + block.shape[1]) - position
        sums = np.add.reduceat(energies, np.maximum(starts, 0), axis=1, dtype=np.float64)
        if starts[0] < 0:  # the block goes on with a frame that the last one began
            self._sums[-1][:, -1] += sums[:, 0]
            sums = sums[:, 1:]
        if sums.size:
            self._sums.append(sums)
        self._before = block[:, -1:].copy()

    def levels(self, length: int) -> np.ndarray:
        if not length:
            return np.zeros((2, 0), np.float32)
        counts = np.diff(self._starts(0, length), append=length)
        return np.sqrt(np.concatenate(self._sums, axis=1) / counts).astype(np.float32)

    def _starts(self, first: int, end: int) -> np.ndarray:
        """The first samples of the frames from number `first` on that begin before sample `end`."""
        last = (end - 1) * FRAMES_PER_SECOND // self._rate
        return -(-np.arange(first, last + 1) * self._rate // FRAMES_PER_SECOND)


def _measured(source: Source) -> Generator[np.ndarray, None, FileFacts]:
    """Decode a source block by block, and return its measurements at the end."""
    info = audio.probe(source.path, source.stream)
    gauge = FileGauge(info.rate, info.channels)
    for block in _blocks(source, info.length):
        yield gauge.show(block)
    return gauge.facts(info.codec)


def _blocks(source: Source, length: int) -> Iterator[np.ndarray]:
    if not source.start and source.length is None:
        return audio.blocks(source.path, BLOCK, source.stream, allow_nonfinite=True)
    end = length if source.length is None else source.start + source.length
    return (
        audio.read(source.path, start, min(BLOCK, end - start), source.stream, allow_nonfinite=True)
        for start in range(source.start, end, BLOCK)
    )


class _Addition:
    """Inner products of the mixture and the sum of the stems, as far as both go."""

    def __init__(self) -> None:
        self._residual = self._mixture = self._cross = self._sum = 0.0
        self._possible = True

    def show(self, blocks: dict[str, np.ndarray]) -> None:
        mixture = blocks[MIXTURE].astype(np.float64)
        total = np.zeros_like(mixture)
        for name, block in blocks.items():
            if name == MIXTURE:
                continue
            if block.shape[1] > total.shape[1] or block.shape[0] not in (1, total.shape[0]):
                self._possible = False
                return
            total[:, : block.shape[1]] += block
        self._residual += float(np.square(mixture - total).sum())
        self._mixture += float(np.square(mixture).sum())
        self._cross += float((mixture * total).sum())
        self._sum += float(np.square(total).sum())

    def facts(self) -> SumFacts | None:
        if not self._possible or self._mixture == 0:
            return None
        gain = self._cross / self._sum if self._sum else 0.0
        at_gain = self._mixture - gain * self._cross
        return SumFacts(
            residual=_decibels(self._residual / self._mixture),
            gain=_decibels(gain**2),
            residual_at_gain=_decibels(max(0.0, at_gain) / self._mixture),
        )


def _decibels(ratio: float) -> float:
    return 10 * float(np.log10(ratio + FLOOR))
