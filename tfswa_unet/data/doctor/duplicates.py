"""The same audio under two names, found from what the examination remembers of every file.

Exact copies share the digest of their samples, whatever lossless file holds them (wav, flac, another header). Others
are found by their loudness over time, ten times a second in two bands, which gain, lossy coding and resampling leave
as it is: over 10 synthetic songs copies as mp3, Vorbis or AAC, at 0.2 of the level or at 48 kHz correlate by 0.998 or
more, other songs by 0.7 or less. Not found are copies that begin elsewhere (by 25 ms or more, so excerpts too), that
are changed in tempo or, where its sides cancel, mixed down to mono, and near copies of less than 5 s or of a steady
tone. What is not the same recording is taken for it only where both play the same pattern on the same sounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from tfswa_unet.data.doctor.facts import MIXTURE, SongFacts, files
from tfswa_unet.data.doctor.gauges import FRAMES_PER_SECOND

STEP = 5 * FRAMES_PER_SECOND  # frames: shapes are compared over the shorter one's length, in whole steps
MOST = 300 * FRAMES_PER_SECOND  # frames: five minutes tell songs apart and bound the memory
ALIKE = 0.995  # correlation in each band
STEADY = 0.01  # variation of the level, relative to its mean, below which its shape is chance
ROWS = 512  # files compared with all others at a time, which bounds the memory


@dataclass(frozen=True)
class Copy:
    """A file of a later song that sounds like a file of an earlier one, or of its own; numbers are places in a list."""

    song: int
    stem: str
    path: Path
    of_song: int
    of_stem: str
    exact: bool


@dataclass(frozen=True)
class _Print:
    song: int
    stem: str
    path: Path
    digest: str
    shape: np.ndarray  # (2, frames)


def find_copies(songs: Sequence[SongFacts]) -> list[Copy]:
    """Return each file that has an equal before it, with the first of these; silence has none.

    Within a song only exact copies count: its stems play together, and its mixture may be one stem for a while.
    """
    prints = [_print(place, facts, stem) for place, facts in enumerate(songs) for stem in facts.files]
    prints = [each for each in prints if each.shape.any()]
    first: dict[int, int] = {}
    for later, earlier in chain(_exact(prints), _alike(prints)):
        first[later] = min(earlier, first.get(later, earlier))
    return [_copy(prints[later], prints[earlier]) for later, earlier in sorted(first.items())]


def _print(place: int, facts: SongFacts, stem: str) -> _Print:
    file = facts.files[stem]
    return _Print(place, stem, files(facts.song)[stem].path, file.digest, file.envelope[:, :MOST])


def _copy(later: _Print, earlier: _Print) -> Copy:
    exact = later.digest == earlier.digest
    return Copy(later.song, later.stem, later.path, earlier.song, earlier.stem, exact)


def _exact(prints: Sequence[_Print]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for number, each in enumerate(prints):
        earlier = first.setdefault(each.digest, number)
        alone = prints[earlier].song == each.song and MIXTURE in (each.stem, prints[earlier].stem)
        if earlier != number and not alone:
            yield number, earlier


def _alike(prints: Sequence[_Print]) -> Iterator[tuple[int, int]]:
    """All pairs (later, earlier) from different songs whose shapes agree for as long as the shorter one lasts."""
    lengths = np.array([each.shape.shape[1] // STEP * STEP for each in prints], dtype=int)
    songs = np.array([each.song for each in prints], dtype=int)
    shapes = np.zeros((len(prints), 2, max(lengths, default=0)), np.float32)
    for number, each in enumerate(prints):
        shapes[number, :, : lengths[number]] = each.shape[:, : lengths[number]]
    for length in np.unique(lengths[lengths > 0]):
        longer = np.flatnonzero(lengths >= length)
        normal = _normalised(shapes[longer, :, :length])
        shorter = np.flatnonzero(lengths[longer] == length)
        for rows in np.array_split(shorter, -(-len(shorter) // ROWS)):
            worst = np.minimum(*(normal[rows, band] @ normal[:, band].T for band in (0, 1)))
            worst[songs[longer[rows]][:, None] == songs[longer]] = 0
            for row, column in np.argwhere(worst >= ALIKE):
                pair = int(longer[rows[row]]), int(longer[column])
                yield max(pair), min(pair)


def _normalised(shapes: np.ndarray) -> np.ndarray:
    """Shapes (…, frames) as vectors whose products are correlations; zeros for those that hardly move."""
    mean = shapes.mean(axis=-1, keepdims=True)
    moved = shapes - mean
    norm = np.linalg.norm(moved, axis=-1, keepdims=True)
    steady = norm <= STEADY * mean * shapes.shape[-1] ** 0.5
    return np.divide(moved, norm, out=np.zeros_like(moved), where=~steady)
