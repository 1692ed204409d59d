"""The audio of a stem, whatever files it is made of."""

from __future__ import annotations

import numpy as np

from tfswa_unet import audio
from tfswa_unet.types import Source


def read_source(source: Source, start: int = 0, length: int | None = None) -> np.ndarray:
    """Return samples `start` to `start + length` of a stem, (c, t) in float32, summed over its files.

    `length` counts samples at the files' rate and must lie inside the track; None goes to the end of a stem that knows
    its own length. A file that ends before is silent from there on, and a mono file among stereo ones plays on both
    sides. Raises AudioError for what cannot be read.
    """
    if length is None:
        if source.length is None and not source.more:
            return audio.read(source.path, source.start + start, None, source.stream)
        length = max(_length(part) for part in source.parts) - start
    pieces = [_read(part, start, length) for part in source.parts]
    if len(pieces) == 1 and pieces[0].shape[1] == length:
        return pieces[0]
    total = np.zeros((max(piece.shape[0] for piece in pieces), length), np.float32)
    for piece in pieces:
        total[:, : piece.shape[1]] += piece
    return total


def _read(part: Source, start: int, length: int) -> np.ndarray:
    if part.length is not None:
        length = min(length, part.length - start)
    if length <= 0:
        return np.zeros((1, 0), np.float32)
    return audio.read(part.path, part.start + start, length, part.stream)


def _length(part: Source) -> int:
    return audio.probe(part.path, part.stream).length - part.start if part.length is None else part.length
