"""Cut a stream into overlapping segments, and join the model's outputs by overlap-add without seams.

    segment k      |context|fade|       body       |fade|context|
    segment k+1                            |context|fade|       body       |fade|context|

At the edges of a segment a model lacks its surroundings: `context` samples there are dropped. Next to them both
neighbours know enough, and are cross-faded with weights that sum to one. Everything is placed by position, so a
stream and an array give the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tfswa_unet.errors import ConfigError

# Where a user asks for nothing else, as in conf/eval.yaml's null.
SEGMENT_SECONDS = 6.0
OVERLAP_SECONDS = 1.0


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


def cut(blocks: Iterable[np.ndarray], segmentation: Segmentation) -> Iterator[Segment]:
    """Cut consecutive blocks (c, t) of any lengths into segments, holding at most two segments and a block.

    The last segment slides back to end with the stream, so that it is full of audio; only a stream shorter than one
    segment is filled up with zeros. An empty stream has no segments.
    """
    size = segmentation.size
    parts: list[np.ndarray] = []
    held = 0  # samples in `parts`, which begin where the newest segment began
    start = 0  # of the next segment, within them
    for block in blocks:
        parts.append(block)
        held += block.shape[1]
        if held < start + size:
            continue
        buffer = np.concatenate(parts, axis=1)
        while buffer.shape[1] >= start + size:
            buffer, start = buffer[:, start:], segmentation.hop
            yield Segment(buffer[:, :size], 0, size)
        parts, held = [buffer], buffer.shape[1]

    rest = held - start
    if start and rest > segmentation.overlap:
        yield Segment(np.concatenate(parts, axis=1)[:, -size:], size - rest, rest)
    elif not start and held:
        audio = np.concatenate(parts, axis=1)
        yield Segment(np.pad(audio, ((0, 0), (0, size - held))), 0, held)


def join(outputs: Iterable[np.ndarray], segmentation: Segmentation) -> Iterator[np.ndarray]:
    """Overlap-add of the outputs (..., t) of consecutive segments, each cut to its `skip` and `length`.

    Only the newest output's tail is held. The blocks (..., t) that come out have together as many samples as the
    stream that was cut.
    """
    hop, fade, context = segmentation.hop, segmentation.fade, segmentation.context
    # Hann-shaped; written as tail + (new - tail) · rise, equal neighbours give themselves exactly.
    rise = np.sin(np.pi / 2 * (np.arange(fade, dtype=np.float32) + 0.5) / max(fade, 1)) ** 2
    tail: np.ndarray | None = None  # of the newest output, from where the next one's fade begins
    for output in outputs:
        done = hop + context
        if tail is not None:
            fading, done = tail[..., :fade], hop
            mixed = fading + (output[..., context : context + fade] - fading) * rise
            output = np.concatenate([mixed, output[..., context + fade :]], axis=-1)
        yield output[..., :done]
        tail = output[..., done:]
    if tail is not None:
        yield tail
