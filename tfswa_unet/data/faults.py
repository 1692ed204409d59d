"""Tracks that turn out to be unreadable while they are read: refused, or gone without and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from tfswa_unet.data.indexing import ON_ERROR, OnError
from tfswa_unet.errors import DataError, UserError, unknown
from tfswa_unet.types import Track

log = logging.getLogger(__name__)


class Faults:
    """Which of `tracks` could not be read, known to all processes that read them.

    With `on_error` "skip" each is logged once, in a sentence. Raises ConfigError for another `on_error`.
    """

    def __init__(self, tracks: Sequence[Track], on_error: OnError = "raise") -> None:
        if on_error not in ON_ERROR:
            raise unknown("data.on_error", on_error, ON_ERROR)
        self.on_error = on_error
        self._names = tuple(track.name for track in tracks)
        self._seen = torch.zeros(len(tracks), dtype=torch.bool).share_memory_()

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks that could not be read so far."""
        return tuple(name for name, seen in zip(self._names, self._seen.tolist(), strict=True) if seen)

    def summary(self) -> str | None:
        """Return a sentence on how many tracks were gone without, and which; None where there was none."""
        if not self.tracks:
            return None
        return f"{len(self.tracks)} of {len(self._names)} tracks could not be read: {', '.join(self.tracks)}."

    @contextmanager
    def of(self, track: int) -> Iterator[None]:
        """Note what cannot be read inside as a fault of track number `track`; the error goes on."""
        try:
            yield
        except UserError as error:
            if self.on_error == "skip" and not self._seen[track]:
                self._seen[track] = True
                log.warning("track %r: %s; others take its place (data.on_error=skip)", self._names[track], error)
            raise

    def first(self, attempts: Iterable[Callable[[], Tensor]]) -> Tensor:
        """Return what the first of the attempts gives that does not fail; with "raise" that is the first or its error.

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
