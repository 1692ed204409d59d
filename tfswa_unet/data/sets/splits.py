"""Which songs train, which validate and which test."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from tfswa_unet.data.sets.songs import Song, key

ONE_IN = 8


def assign(songs: Iterable[Song], official: Collection[str] = ()) -> list[Song]:
    """Return the songs with their final split, so that no song both trains and validates.

    Training songs with a name in `official`, or one that differs in spaces and the like, validate, as do the songs of a
    valid folder. Where that leaves no song to validate with, the first of every eight training songs by name does, as
    long as there are two or more.
    """
    keys = {key(name) for name in official}
    songs = [
        replace(song, split="valid") if song.split == "train" and key(song.name) in keys else song for song in songs
    ]
    valid = {song.name for song in songs if song.split == "valid"}
    if not valid:
        train = sorted(song.name for song in songs if song.split == "train")
        valid = set(train[::ONE_IN]) if len(train) > 1 else set()
        return [
            replace(song, split="valid") if song.split == "train" and song.name in valid else song for song in songs
        ]
    return [song for song in songs if song.split != "train" or song.name not in valid]
