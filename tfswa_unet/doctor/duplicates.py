"""Duplicates: the same audio under two names, within a song, a split or across splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor.examine import FRAMES_PER_SECOND, SongFacts, song_files
from tfswa_unet.doctor.findings import Finding, Severity
from tfswa_unet.types import MIXTURE

STEP = 5 * FRAMES_PER_SECOND  # frames: shapes are compared over the shorter one's length, in whole steps
LONGEST = 300 * FRAMES_PER_SECOND  # frames: five minutes tell songs apart and bound the memory
ALIKE = 0.995  # correlation in each band
STEADY = 0.01  # variation of the level, relative to its mean, below which its shape is chance
ROWS = 512  # files compared with all others at a time, which bounds the memory


@dataclass(frozen=True)
class _Print:
    """What a file is compared by; `song` is its place among the songs."""

    song: int
    stem: str
    path: Path
    digest: str
    shape: np.ndarray  # (2, frames)


def duplicate_findings(songs: Sequence[SongFacts]) -> list[Finding]:
    """Findings about files that hold the audio of an earlier file, one a pair of songs.

    Within a song only exact copies count: its stems play together, and its mixture may be one stem for a while. Silence
    is no copy.
    """
    pairs: dict[tuple[int, int], list[tuple[_Print, _Print]]] = {}
    for later, earlier in _copies(songs):
        pairs.setdefault((later.song, earlier.song), []).append((later, earlier))
    return [
        _finding_of(songs[song].song, songs[of_song].song, copies) for (song, of_song), copies in sorted(pairs.items())
    ]


def _finding_of(song: Song, of_song: Song, copies: Sequence[tuple[_Print, _Print]]) -> Finding:
    names, of_names = (", ".join(each.stem for each in side) for side in zip(*copies, strict=True))
    exact = all(later.digest == earlier.digest for later, earlier in copies)
    how = "the very samples of" if exact else "the same audio as"
    where = f"{of_song.split}/{of_song.name}" + ("" if names == of_names else f" ({of_names})")
    severity: Severity = "error"
    check, remedy = "duplicate", "remove one of the two"
    if song.split != of_song.split:
        check, remedy = "leak", "remove one of the two songs: scores on what was trained on say nothing"
    elif song is of_song:
        where, remedy = of_names, "export the right audio: one sound cannot be two stems"
    else:
        severity = "warning"
    return Finding.of(
        song, severity, check, names, f"holds {how} {where}", remedy, *(later.path for later, _ in copies)
    )


def _copies(songs: Sequence[SongFacts]) -> list[tuple[_Print, _Print]]:
    """Each file that has an equal before it, with the first of these."""
    prints = [
        _Print(place, stem, song_files(facts.song)[stem].path, file.digest, file.envelope[:, :LONGEST])
        for place, facts in enumerate(songs)
        for stem, file in facts.files.items()
        if file.envelope[:, :LONGEST].any()
    ]
    first: dict[int, int] = {}
    for later, earlier in chain(_exact(prints), _alike(prints)):
        first[later] = min(earlier, first.get(later, earlier))
    return [(prints[later], prints[earlier]) for later, earlier in sorted(first.items())]


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
