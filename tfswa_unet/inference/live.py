"""One mixture on its way through a model that has a stream of its own: resampled, given to it, resampled back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.inference.stream import Stems, StemStream


class LiveStream(StemStream):
    """`StemStream` of a model that has a stream of its own, whose stems follow the mixture by its latency.

    Whole mixtures take the same way, in one pass: there are no segments, and the stems do not depend on how the mixture
    is cut into blocks.
    """

    def _start(self) -> None:
        super()._start()
        model: Any = self._separator.model
        self._own: Any = model.stream().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._own = None

    def _samples_behind(self) -> int:
        model: Any = self._separator.model
        return int(model.latency)

    def _placed(self, audio: np.ndarray) -> list[Any]:
        return [audio] if audio.shape[1] else []

    def _ending(self) -> list[Any]:
        return self._placed(self._now.there.flush())

    def _advance(self, placed: Sequence[Any], keep: int = 0, ended: bool = False) -> Iterator[Stems]:
        """Give the model the samples (c, t), and what they complete of the stems; at the end the rest."""
        now, separator = self._now, self._separator
        for audio in placed:
            self._look_for_cancel()
            mixtures = separator.to_model(torch.from_numpy(audio)[None])
            with separator.computing():
                stems = self._own.push(mixtures.to(separator.device))
            yield from self._resampled(now, now.back.push(self._of_song(stems)))
        if ended and now.received:
            with separator.computing():
                stems = self._own.finish()
            yield from self._resampled(now, now.back.push(self._of_song(stems)))
            yield from self._resampled(now, now.back.flush())

    def _of_song(self, stems: Tensor) -> np.ndarray:
        """The stems that are asked for, (s·c, t) on the host."""
        chosen = self._separator.from_model(stems[:, self._rows].float(), self.channels)
        return self._finite(chosen[0].flatten(0, 1).cpu().numpy())
