"""What is wrong with songs only beside the other songs of the data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from tfswa_unet.data.doctor.duplicates import Copy, find_copies
from tfswa_unet.data.doctor.facts import MIXTURE, SongFacts
from tfswa_unet.data.doctor.finding import Finding
from tfswa_unet.data.doctor.findings import most_common, tell
from tfswa_unet.data.sets.songs import Song


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
