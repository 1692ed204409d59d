"""Cut a stream into segments that share samples, and join what the model made of them without seams.

    segment k      |context|fade|       body       |fade|context|
    segment k+1                            |context|fade|       body       |fade|context|

At the edges of a segment a model lacks its surroundings: `context` samples there are dropped. Next to them both
neighbours know enough, and are cross-faded with weights that sum to one. Everything is placed by position, so a
stream and an array give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tfswa_unet.errors import ConfigError


@dataclass(frozen=True)
class Plan:
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

    @property
    def hop(self) -> int:
        """Samples from one segment's start to the next's."""
        return self.size - self.overlap

    @property
    def fade(self) -> int:
        """Samples in which two neighbours are mixed."""
        return self.overlap - 2 * self.context


@dataclass(frozen=True)
class Segment:
    """What the model gets, and which part of its output counts: `length` samples from `skip` on."""

    audio: np.ndarray  # (c, t) with t the plan's size
    skip: int
    length: int


def cut(blocks: Iterable[np.ndarray], plan: Plan) -> Iterator[Segment]:
    """Cut consecutive blocks (c, t) of any lengths into segments, holding at most two segments and a block.

    The last segment slides back to end with the stream, so that it is full of audio; only a stream shorter than one
    segment is filled up with zeros. An empty stream has no segments.
    """
    parts: list[np.ndarray] = []
    held = 0  # samples in `parts`, which begin where the newest segment began
    start = 0  # of the next segment, within them
    for block in blocks:
        parts.append(block)
        held += block.shape[1]
        if held < start + plan.size:
            continue
        buffer = np.concatenate(parts, axis=1)
        while buffer.shape[1] >= start + plan.size:
            buffer, start = buffer[:, start:], plan.hop
            yield Segment(buffer[:, : plan.size], 0, plan.size)
        parts, held = [buffer], buffer.shape[1]

    rest = held - start
    if start and rest > plan.overlap:
        yield Segment(np.concatenate(parts, axis=1)[:, -plan.size :], plan.size - rest, rest)
    elif not start and held:
        audio = np.concatenate(parts, axis=1)
        yield Segment(np.pad(audio, ((0, 0), (0, plan.size - held))), 0, held)


def join(outputs: Iterable[np.ndarray], plan: Plan) -> Iterator[np.ndarray]:
    """Join the outputs (..., t) of consecutive segments, each cut to its `skip` and `length`, keeping only a tail.

    The blocks (..., t) that come out have together as many samples as the stream that was cut.
    """
    # Hann-shaped; written as tail + (new - tail) · rise, equal neighbours give themselves exactly.
    rise = np.sin(np.pi / 2 * (np.arange(plan.fade, dtype=np.float32) + 0.5) / max(plan.fade, 1)) ** 2
    tail: np.ndarray | None = None  # of the newest output, from where the next one's fade begins
    for output in outputs:
        done = plan.hop + plan.context
        if tail is not None:
            fade, done = tail[..., : plan.fade], plan.hop
            mixed = fade + (output[..., plan.context : plan.context + plan.fade] - fade) * rise
            output = np.concatenate([mixed, output[..., plan.context + plan.fade :]], axis=-1)
        yield output[..., :done]
        tail = output[..., done:]
    if tail is not None:
        yield tail
