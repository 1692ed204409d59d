"""One mixture on its way through a model, block by block: resampled, cut, run in batches, joined, resampled back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tfswa_unet.audio.resample import StreamResampler
from tfswa_unet.errors import AudioError, ModelError
from tfswa_unet.inference.overlap_add import Cutter, Joiner, Segment, Segmentation

if TYPE_CHECKING:
    from tfswa_unet.inference.separator import Separator

Stems = dict[str, np.ndarray]  # by name, each (c, t) float32


class NotFiniteError(ModelError):
    """A model gave NaN or infinite samples."""


class Cancelled(Exception):
    """Raised where `cancel` said to stop."""


def has_stream(model: object) -> bool:
    """Whether a model gives stems as the mixture comes, as `models.RealtimeModel` does, and needs no segments."""
    return hasattr(model, "stream")


class StemStream:
    """Separation of one mixture that comes in blocks; made by `Separator.stream`, and used as a context manager.

        with separator.stream(44100, channels=2) as stream:
            for block in blocks:            # (c, t), of any lengths
                stems = stream.push(block)  # {"vocals": (c, t), …}: what is complete, which may be nothing
            stems = stream.finish()         # the rest

    What comes out has together as many samples as what went in, and is what `Separator.separate` gives of it. Memory
    does not grow with the length. The state is born when the context is entered, and dropped when it is left.

    `latency` is the algorithmic one, in s: so much later than a sample went in, at most, it has come out, leaving aside
    the time for computing.
    """

    def __init__(
        self,
        separator: Separator,
        rate: int,
        channels: int,
        names: Sequence[str],
        batch: int,
        cancel: Callable[[], bool] | None,
    ) -> None:
        self.rate, self.channels, self.names, self.batch = rate, channels, tuple(names), batch
        self._separator = separator
        self._rows = [separator.stems.index(name) for name in names]
        self._cancel = cancel
        self._state: _State | None = None
        there, back = self._resamplers()  # for their refusals, before any work
        self._resampling = there.delay + back.delay

    @property
    def latency(self) -> float:
        """Most seconds by which stems lag behind the mixture: a segment, a batch, the resamplers."""
        return self._samples_behind() / self._separator.model.rate + self._resampling

    def __enter__(self) -> StemStream:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = None

    def push(self, block: ArrayLike | Tensor) -> Stems:
        """Take the next block (c, t) of floats, full scale ±1, and give what is complete of each stem, (c, t).

        Raises:
            AudioError: for another shape, or samples that are not finite.
            ModelError: where the model gives such samples.
            Cancelled: when `cancel` said so.
        """
        given = block.detach().cpu().numpy() if isinstance(block, Tensor) else np.asarray(block)
        if given.ndim != 2 or given.shape[0] != self.channels or given.dtype.kind != "f":
            raise AudioError(
                f"got a block of {given.dtype} shaped {given.shape}: "
                f"give floating-point samples ({self.channels}, samples)"
            )
        return self._joined(self._advance(self._cut(given.astype(np.float32, copy=False))))

    def finish(self) -> Stems:
        """Give the rest of each stem, (c, t), after the last block."""
        return self._joined(self._advance(self._ending(), ended=True))

    def segments(self, blocks: Iterable[np.ndarray]) -> Iterator[list[Any]]:
        """The first half of the way, which needs no model: blocks (c, t) float32 to segments, for `run`."""
        for block in blocks:
            yield self._cut(block)
        yield self._ending()

    def run(self, segments: Iterable[list[Any]]) -> Iterator[Stems]:
        """The second half: what `segments` gives, to stems; on CUDA several at once are fetched while the next run."""
        for placed in segments:
            yield from self._advance(placed, keep=min(1, self.batch - 1))
        yield from self._advance([], ended=True)

    def _resamplers(self) -> tuple[StreamResampler, StreamResampler]:
        model_rate = self._separator.model.rate
        there = StreamResampler(self.rate, model_rate, self.channels)
        return there, StreamResampler(model_rate, self.rate, len(self.names) * self.channels)

    def _start(self) -> None:
        segmentation, shifts = self._separator.segmentation, self._separator.shifts
        leads = (shift * segmentation.hop // shifts for shift in range(shifts))
        self._state = _State(*self._resamplers(), [_Grid(segmentation, lead, self.channels) for lead in leads])

    def _samples_behind(self) -> int:
        """Samples at the model's rate by which its stems lag behind what it is given."""
        segmentation, shifts = self._separator.segmentation, self._separator.shifts
        # Every hop completes one segment of each shift; a sample lies in one of each.
        return segmentation.size - (-(self.batch - 1) * segmentation.hop // shifts)

    @property
    def _now(self) -> _State:
        if self._state is None:
            raise RuntimeError("a stream works inside its `with` block only")
        return self._state

    def _cut(self, block: np.ndarray) -> list[Any]:
        now = self._now
        if not np.isfinite(block).all():
            raise AudioError(
                f"the audio holds NaN or infinite samples near {now.received / self.rate:.1f} s: repair the file first"
            )
        now.received += block.shape[1]
        return self._placed(now.there.push(block))

    def _ending(self) -> list[Any]:
        placed = self._placed(self._now.there.flush())
        if not self._now.received:
            return []  # what shifts put before nothing
        return placed + [_Placed(grid, segment) for grid in self._now.grids for segment in grid.cutter.flush()]

    def _placed(self, audio: np.ndarray) -> list[Any]:
        """What the model is to run of the next samples."""
        return [_Placed(grid, segment) for grid in self._now.grids for segment in grid.cutter.push(audio)]

    def _advance(self, placed: Sequence[Any], keep: int = 0, ended: bool = False) -> Iterator[Stems]:
        """Run the segments that fill a batch, all of them at the end, and give the stems that they complete."""
        now = self._now
        now.waiting += placed
        while len(now.waiting) >= self.batch or (ended and now.waiting):
            batch, now.waiting = now.waiting[: self.batch], now.waiting[self.batch :]
            self._model(batch)
            yield from self._arrived(now, keep)
        if ended:
            for grid in now.grids:
                grid.add(grid.joiner.flush())
            yield from self._arrived(now, 0)
            yield from self._resampled(now, now.back.flush())

    def _model(self, batch: Sequence[_Placed]) -> None:
        self._look_for_cancel()
        loud = [placed.segment.audio for placed in batch if placed.segment.audio.any()]
        outputs = iter(self._separator.run(np.stack(loud), self._rows)) if loud else iter(())
        for grid, segment in ((placed.grid, placed.segment) for placed in batch):
            if segment.audio.any():
                output = next(outputs)[..., segment.skip : segment.skip + segment.length]
            else:
                shape = (len(self._rows), self.channels, segment.length)
                output = torch.zeros(shape, device=self._separator.device)
            grid.add(grid.joiner.push(output))

    def _arrived(self, now: _State, keep: int) -> Iterator[Stems]:
        """What all grids have, on the host; on CUDA the last `keep` copies are left to go on beside the next batch."""
        length = min(grid.held for grid in now.grids)
        if length:
            blocks = [grid.take(length) for grid in now.grids]
            mean = blocks[0] if len(blocks) == 1 else torch.stack(blocks).mean(0)
            now.copies.append(_Copy(mean.flatten(0, 1)))
        while len(now.copies) > (keep if self._separator.device.type == "cuda" else 0):
            yield from self._resampled(now, now.back.push(self._finite(now.copies.popleft().landed())))

    def _look_for_cancel(self) -> None:
        if self._cancel and self._cancel():
            raise Cancelled("the separation was cancelled")

    def _finite(self, block: np.ndarray) -> np.ndarray:
        # A sum carries any NaN or infinity, and is ten times cheaper than looking at every sample.
        if not np.isfinite(block.sum()):
            raise NotFiniteError(
                f"the model gave NaN or infinite samples in {self._separator.precision}: {self._separator.advice}"
            )
        return block

    def _resampled(self, now: _State, block: np.ndarray) -> Iterator[Stems]:
        # There and back again may round up to one sample more than there was; only the last block can be cut.
        block = block[:, : now.received - now.emitted]
        now.emitted += block.shape[1]
        if block.shape[1]:
            stems = block.reshape(len(self.names), self.channels, block.shape[1])
            yield dict(zip(self.names, stems, strict=True))

    def _joined(self, parts: Iterable[Stems]) -> Stems:
        found = list(parts)
        nothing = np.zeros((self.channels, 0), np.float32)
        return {name: np.concatenate([nothing, *(part[name] for part in found)], axis=1) for name in self.names}


class _Grid:
    """Where segments begin: those of a shift begin `lead` samples before the song, which are dropped again."""

    def __init__(self, segmentation: Segmentation, lead: int, channels: int) -> None:
        self.cutter, self.joiner = Cutter(segmentation), Joiner(segmentation)
        self.cutter.push(np.zeros((channels, lead), np.float32))  # less than a hop, so that no segment is complete
        self.held = 0  # samples that wait for the other grids
        self._waiting: list[Tensor] = []
        self._lead = lead

    def add(self, block: Tensor | None) -> None:
        if block is None:
            return
        dropped = min(self._lead, block.shape[-1])
        self._lead -= dropped
        self._waiting.append(block[..., dropped:])
        self.held += block.shape[-1] - dropped

    def take(self, length: int) -> Tensor:
        whole = self._waiting[0] if len(self._waiting) == 1 else torch.cat(self._waiting, dim=-1)
        self._waiting = [whole[..., length:]] if length < self.held else []
        self.held -= length
        return whole[..., :length]


@dataclass(frozen=True)
class _Placed:
    grid: _Grid
    segment: Segment


class _Copy:
    """A tensor on its way to the host; from CUDA through pinned memory, so that the device works on meanwhile."""

    def __init__(self, block: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._block = block
        if block.device.type == "cuda":
            self._block = torch.empty(block.shape, dtype=block.dtype, pin_memory=True)
            self._block.copy_(block, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(block.device))

    def landed(self) -> np.ndarray:
        if self._event is not None:
            self._event.synchronize()
        return self._block.cpu().numpy()


@dataclass
class _State:
    there: StreamResampler
    back: StreamResampler
    grids: list[_Grid]
    waiting: list[_Placed] = field(default_factory=list)  # for a batch to be full
    copies: deque[_Copy] = field(default_factory=deque)
    received: int = 0  # samples at the mixture's rate
    emitted: int = 0
