"""The same audio under two names, found from what the examination remembers of every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor.examine import FRAMES_PER_SECOND, MIXTURE, SongFacts, files
from tfswa_unet.doctor.findings import Finding, most_common, tell

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


def across_findings(songs: Sequence[SongFacts], expected: Sequence[str] = ()) -> list[Finding]:
    """Return missing stems, songs of an unusual rate or number of channels, and copies within and across splits."""
    return [*_missing(songs, expected), *_unusual(songs), *_copies(songs)]


def _missing(songs: Sequence[SongFacts], expected: Sequence[str]) -> Iterator[Finding]:
    counts = Counter(stem for facts in songs for stem in _stems(facts.song))
    usual = [stem for stem, count in counts.items() if count > len(songs) / 2 and stem not in expected]
    for facts in songs:
        song = facts.song
        folder = next(iter(song.sources.values())).path.parent
        for stem in expected:
            if stem not in song.sources:
                what, remedy = "is missing", "put the file back: songs of this kind of data set are refused without it"
                yield Finding("error", "missing", song.split, song.name, stem, what, remedy, (folder,))
        for stem in usual:
            if stem not in _stems(song):
                what = f"is missing, where {counts[stem]} of {len(songs)} songs have it"
                remedy = "put it there if there is one: training takes it as silent"
                if stem == MIXTURE:
                    remedy = "put it there if there is one: the sum of the stems is taken for it, and cannot be checked"
                yield Finding("warning", "missing", song.split, song.name, stem, what, remedy, (folder,))


def _stems(song: Song) -> list[str]:
    return [*song.sources, *([MIXTURE] if song.mixture else [])]


def _unusual(songs: Sequence[SongFacts]) -> Iterator[Finding]:
    for check, unit, remedy in (
        ("rate", "Hz", "resample the song, or training does so for every crop"),
        ("channels", "channels", "export it with as many as the others: mono is copied to every channel"),
    ):
        # The most common value of a song stands for it: files that differ from it are findings of the song's own.
        own = {
            str(place): most_common({name: getattr(file, check) for name, file in facts.files.items()})
            for place, facts in enumerate(songs)
            if facts.files
        }
        usual = most_common({place: value for place, value in own.items() if value is not None})
        for place, value in own.items():
            if value != usual:
                facts = songs[int(place)]
                what = f"has {value} {unit} where most songs have {usual}"
                name = next(iter(facts.files))
                yield tell(facts, "warning", check, name, what, remedy)


def _copies(songs: Sequence[SongFacts]) -> Iterator[Finding]:
    copies = sorted(find_copies(songs), key=lambda copy: (copy.song, copy.of_song))
    for (place, of_place), group in groupby(copies, key=lambda copy: (copy.song, copy.of_song)):
        yield _copy_finding(songs[place].song, songs[of_place].song, list(group))


def _copy_finding(song: Song, of_song: Song, copies: Sequence[Copy]) -> Finding:
    names, of_names = ", ".join(copy.stem for copy in copies), ", ".join(copy.of_stem for copy in copies)
    how = "the very samples of" if all(copy.exact for copy in copies) else "the same audio as"
    where = of_names if song is of_song else f"{of_song.split}/{of_song.name}"
    if song is not of_song and names != of_names:
        where += f" ({of_names})"
    leaks = song.split != of_song.split
    if leaks:
        remedy = "remove one of the two songs: scores on what was trained on say nothing"
    elif song is of_song:
        remedy = "export the right audio: one sound cannot be two stems"
    else:
        remedy = "remove one of the two"
    return Finding(
        "error" if leaks or song is of_song else "warning",
        "leak" if leaks else "duplicate",
        song.split,
        song.name,
        names,
        f"holds {how} {where}",
        remedy,
        tuple(copy.path for copy in copies),
    )
