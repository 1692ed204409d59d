"""Tracks that cannot be cached: refused, or left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tfswa_unet.data.cache.decode import Stem
from tfswa_unet.data.indexing import ON_ERROR, OnError
from tfswa_unet.errors import AudioError, UserError, unknown
from tfswa_unet.types import Track

log = logging.getLogger(__name__)


class LeftOut:
    """With "skip", tracks that cannot be cached are logged and left out; raises ConfigError for another `on_error`."""

    def __init__(self, on_error: OnError) -> None:
        if on_error not in ON_ERROR:
            raise unknown("data.on_error", on_error, ON_ERROR)
        self._skip = on_error == "skip"
        self._stems: dict[Path, AudioError] = {}

    @contextmanager
    def if_unfit(self, track: Track) -> Iterator[None]:
        """Leave out the track for which the planning inside fails."""
        try:
            yield
        except UserError as error:
            if not self._skip:
                raise
            _log_left_out(track, error)

    def note(self, path: Path, error: AudioError) -> None:
        """Note that the stem to be written to `path` cannot be decoded."""
        if not self._skip:
            raise error
        self._stems[path] = error

    def has(self, track: Track, stems: Mapping[str, Stem]) -> bool:
        """Say whether any of a track's stems failed, and log it."""
        error = next((self._stems[stem.path] for stem in stems.values() if stem.path in self._stems), None)
        if error is not None:
            _log_left_out(track, error)
        return error is not None


def _log_left_out(track: Track, error: UserError) -> None:
    log.warning("track %r: %s; it is left out (data.on_error=skip)", track.name, error)
