"""Gauges that are shown one file's audio block by block, and remember little of it."""

from __future__ import annotations

import hashlib

import numpy as np

from tfswa_unet.data.doctor.facts import FileFacts

FRAMES_PER_SECOND = 10
FULL_SCALE = 1 - 2**-15  # the largest value of 16 bits
RUN = 3  # equal samples at full scale: two happen at an honest peak


class FileGauge:
    """All that is measured of one audio stream."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate, self.channels, self.length = rate, channels, 0
        self._nonfinite, self._first_nonfinite = 0, 0
        self._peak = 0.0
        self._total = np.zeros(channels)
        self._clipping = _Clipping(channels)
        self._envelope = _Envelope(rate, channels)
        self._digest = hashlib.blake2b(f"{rate} {channels}".encode(), digest_size=16)

    def show(self, block: np.ndarray) -> np.ndarray:
        """Measure the next block (c, t) and return it with zeros for what is not finite."""
        highest = max(float(block.max()), -float(block.min()))
        if not np.isfinite(highest):
            bad = ~np.isfinite(block)
            if not self._nonfinite:
                self._first_nonfinite = self.length + int(np.argmax(bad.any(axis=0)))
            self._nonfinite += int(bad.sum())
            block = np.where(bad, np.float32(0), block)
            highest = float(np.abs(block).max())
        self._peak = max(self._peak, highest)
        self._total += block.sum(axis=1, dtype=np.float64)
        self._clipping.show(block, self.length, highest)
        self._envelope.show(block, self.length)
        self._digest.update(np.ascontiguousarray(block + np.float32(0)).data)  # -0.0 and 0.0 sound the same
        self.length += block.shape[1]
        return block

    def facts(self, codec: str) -> FileFacts:
        """Return what all the blocks together showed."""
        means = self._total / max(1, self.length)
        return FileFacts(
            rate=self.rate,
            channels=self.channels,
            length=self.length,
            codec=codec,
            nonfinite=self._nonfinite,
            first_nonfinite=self._first_nonfinite,
            peak=self._peak,
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
        self._frames = 0

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
