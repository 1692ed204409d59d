"""Cut a stream into overlapping segments, and join the model's outputs by overlap-add without seams.

    segment k      |context|fade|       body       |fade|context|
    segment k+1                            |context|fade|       body       |fade|context|

At the edges of a segment a model lacks its surroundings: `context` samples there are dropped. Next to them both
neighbours know enough, and are cross-faded with weights that sum to one. Everything is placed by position, so a
stream and an array give the same samples; both ways work block by block, and what lies between is their only state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError


@dataclass(frozen=True)
class Segmentation:
    """Segments of `size` samples, each sharing `overlap` with the next, `context` of them dropped at either side.

    Raises:
        ConfigError: when the overlap exceeds half a segment or cannot hold the context on both sides.
    """

    size: int
    overlap: int
    context: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"a segment of {self.size} samples is empty: make the segment longer")
        if not 0 <= self.overlap <= self.size // 2:
            raise ConfigError(
                f"the overlap of {self.overlap} samples must lie between 0 and half of the segment's {self.size}: "
                "make the overlap shorter or the segment longer"
            )
        if not 0 <= 2 * self.context <= self.overlap:
            raise ConfigError(
                f"the context of {self.context} samples at both sides must fit into the overlap of {self.overlap}: "
                "make the context at most half of the overlap"
            )

    @classmethod
    def from_seconds(cls, rate: int, segment: float, overlap: float, context: float | None) -> Segmentation:
        """The segmentation of audio at `rate` Hz from lengths in s; a context of None is a quarter of the overlap.

        Raises:
            ConfigError: for lengths that are negative, no numbers, or do not fit each other.
        """
        seconds = {"segment": segment, "overlap": overlap, "context": overlap / 4 if context is None else context}
        for name, value in seconds.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}_seconds={value}: give a number of seconds")
        return cls(*(int(value * rate) for value in seconds.values()))

    @property
    def hop(self) -> int:
        """Samples from one segment's start to the next's."""
        return self.size - self.overlap

    @property
    def fade(self) -> int:
        """Samples in which two neighbours are cross-faded."""
        return self.overlap - 2 * self.context


@dataclass(frozen=True)
class Segment:
    """A model's input, and the part of its output that is kept: `length` samples from `skip` on."""

    audio: np.ndarray  # (c, t), t the segmentation's size
    skip: int
    length: int


class Cutter:
    """Cut consecutive blocks (c, t) of any lengths into segments, holding at most two segments and a block.

    The last segment slides back to end with the stream, so that it is full of audio; only a stream shorter than one
    segment is filled up with zeros. An empty stream has no segments.
    """

    def __init__(self, segmentation: Segmentation) -> None:
        self._segmentation = segmentation
        self._parts: list[np.ndarray] = []
        self._held = 0  # samples in the parts, which begin where the newest segment began
        self._start = 0  # of the next segment, within them

    def push(self, block: np.ndarray) -> list[Segment]:
        """Take a block, and give the segments that it completes."""
        size = self._segmentation.size
        self._parts.append(block)
        self._held += block.shape[1]
        if self._held < self._start + size:
            return []
        segments = []
        buffer = np.concatenate(self._parts, axis=1)
        while buffer.shape[1] >= self._start + size:
            buffer, self._start = buffer[:, self._start :], self._segmentation.hop
            segments.append(Segment(buffer[:, :size], 0, size))
        self._parts, self._held = [buffer], buffer.shape[1]
        return segments

    def flush(self) -> list[Segment]:
        """Give the last segment, if the stream does not end with the one before."""
        size, rest = self._segmentation.size, self._held - self._start
        if self._start and rest > self._segmentation.overlap:
            return [Segment(np.concatenate(self._parts, axis=1)[:, -size:], size - rest, rest)]
        if not self._start and self._held:
            audio = np.concatenate(self._parts, axis=1)
            return [Segment(np.pad(audio, ((0, 0), (0, size - self._held))), 0, self._held)]
        return []


class Joiner:
    """Overlap-add of the outputs (..., t) of consecutive segments, on the device where they are.

    Only the newest output's tail is held. The blocks (..., t) that come out have together as many samples as the
    stream that was cut.
    """

    def __init__(self, segmentation: Segmentation) -> None:
        self._segmentation = segmentation
        fade = segmentation.fade
        # Hann-shaped; written as tail + (new - tail) · rise, equal neighbours give themselves exactly.
        self._rise = torch.sin(math.pi / 2 * (torch.arange(fade) + 0.5) / max(fade, 1)).square()
        self._tail: Tensor | None = None  # of the newest output, from where the next one's fade begins

    def push(self, output: Tensor) -> Tensor:
        """Take the output of the next segment, cut to its `skip` and `length`, and give what is complete."""
        hop, fade, context = self._segmentation.hop, self._segmentation.fade, self._segmentation.context
        done = hop + context
        if self._tail is not None:
            self._rise = self._rise.to(output.device)
            fading, done = self._tail[..., :fade], hop
            mixed = fading + (output[..., context : context + fade] - fading) * self._rise
            output = torch.cat([mixed, output[..., context + fade :]], dim=-1)
        self._tail = output[..., done:]
        return output[..., :done]

    def flush(self) -> Tensor | None:
        """Give the end of the last output; None where there was none."""
        tail, self._tail = self._tail, None
        return tail
