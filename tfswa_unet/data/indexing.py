"""From songs found by name to tracks: every file is opened once, for its length and rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tfswa_unet import audio
from tfswa_unet.data.songs import Song
from tfswa_unet.errors import DataError
from tfswa_unet.types import Source, Track

THREADS = 8


def index(songs: Sequence[Song]) -> list[Track]:
    """Return the tracks of `songs`, probing their files in a few threads.

    Raises AudioError for an unreadable file and DataError where the files of one song differ in length or rate.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_track, songs))


def _track(song: Song) -> Track:
    files: dict[str, Source] = dict(song.sources)
    if song.mixture is not None:
        files["mixture"] = song.mixture
    infos = {stem: audio.probe(source.path, source.stream) for stem, source in files.items()}
    rate = _common(song, "rate", "Hz", {stem: info.rate for stem, info in infos.items()}, "resample")
    length = _common(song, "length", "samples", {stem: info.length for stem, info in infos.items()}, "cut or pad")
    return Track(song.name, song.split, rate, length, song.sources, song.mixture)


def _common(song: Song, quantity: str, unit: str, values: Mapping[str, int], remedy: str) -> int:
    if len(set(values.values())) > 1:
        listed = ", ".join(f"{stem} {value}" for stem, value in values.items())
        raise DataError(
            f"The stems of track {song.name!r} ({_place(song)}) differ in {quantity}: {listed} {unit}; "
            f"{remedy} them to one {quantity} or remove the track."
        )
    return next(iter(values.values()))


def _place(song: Song) -> str:
    source = next(iter(song.sources.values()))
    return str(source.path if source.stream else source.path.parent)
