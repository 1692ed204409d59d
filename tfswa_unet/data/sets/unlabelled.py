"""Folders of songs without stems, for pre-training: a file a song."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data.sets.layouts import Song, data_set, entries
from tfswa_unet.types import SPLITS, Source, Split


@data_set("unlabelled", "[train|valid|test/]…/<song>.wav (or flac, ogg, mp3, …)", Path.is_dir, rank=110)
def list_unlabelled(root: Path) -> list[Song]:
    """List the audio files below root/[train|valid|test/], each a song that is a mixture without stems.

    A song is named after its path there, without the file's ending; two files that differ in no more are two songs.
    """
    splits: list[tuple[Split, Path]] = [(split, root / split) for split in SPLITS if (root / split).is_dir()]
    songs: list[Song] = []
    for split, folder in splits or [("train", root)]:
        seen: set[str] = set()
        for path in _files(folder):
            name = str(path.relative_to(folder).with_suffix(""))
            name = path.relative_to(folder).as_posix() if name in seen else name
            seen.add(name)
            songs.append(Song(name, split, mixture=Source(path)))
    return songs


def _files(folder: Path) -> Iterator[Path]:
    for path in entries(folder):
        if path.is_dir():
            yield from _files(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path
