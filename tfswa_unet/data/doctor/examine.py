"""One song into facts: its files are decoded side by side, once, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.doctor.facts import MIXTURE, FileFacts, SongFacts, SumFacts, files
from tfswa_unet.data.doctor.gauges import FileGauge
from tfswa_unet.data.sets.songs import Song
from tfswa_unet.errors import UserError
from tfswa_unet.types import Source

BLOCK = 1 << 16  # samples
FLOOR = 1e-30  # of an energy, so that the residual of exact sums is a number


def examine(song: Song) -> SongFacts:
    """Decode all files of a song and measure them; memory does not grow with its length but for 80 bytes a second.

    Nothing is raised for a file that cannot be read: it is told in `unreadable`.
    """
    readers = {name: _Reader(source) for name, source in files(song).items()}
    addition = _Addition()
    while any(not reader.done for reader in readers.values()):
        blocks = {name: block for name, reader in readers.items() if (block := reader.next()) is not None}
        if MIXTURE in blocks:
            addition.show(blocks)
    found = {name: reader.facts for name, reader in readers.items() if reader.facts is not None}
    unreadable = {name: reader.fault for name, reader in readers.items() if reader.fault is not None}
    rates, lengths = ({getattr(facts, what) for facts in found.values()} for what in ("rate", "length"))
    comparable = not unreadable and len(rates) == 1 and (len(lengths) == 1 or song.ragged)
    return SongFacts(song, found, unreadable, addition.facts() if comparable else None)


class _Reader:
    def __init__(self, source: Source) -> None:
        self.done = False
        self.fault: str | None = None
        self.facts: FileFacts | None = None
        self._source = source
        self._gauge: FileGauge | None = None
        self._codec = ""
        self._blocks: Iterator[np.ndarray] | None = None

    def next(self) -> np.ndarray | None:
        """The next block, or None when the file has ended or broken."""
        if self.done:
            return None
        try:
            block = self._read()
        except UserError as error:
            self.fault = str(error)
        except Exception as error:  # whatever a broken file makes of a decoder, the other files are still examined
            self.fault = f"{self._source.path}: cannot be decoded ({type(error).__name__}: {error})"
        else:
            if block is not None:
                return block
            assert self._gauge is not None
            self.facts = self._gauge.facts(self._codec)
        self.done = True
        return None

    def _read(self) -> np.ndarray | None:
        if self._blocks is None or self._gauge is None:
            info = audio.probe(self._source.path, self._source.stream)
            self._codec = info.codec
            self._gauge = FileGauge(info.rate, info.channels)
            self._blocks = _blocks(self._source, info.length)
        block = next(self._blocks, None)
        return None if block is None else self._gauge.show(block)


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
