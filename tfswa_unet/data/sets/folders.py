"""Folders of songs: a folder a song, a file or a folder of parts a stem, its name being the stem's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data.sets.layouts import Song, collect, data_set, entries, summed
from tfswa_unet.errors import DataError
from tfswa_unet.types import MIXTURE, SPLITS, Source, Split


@data_set("folders", "[train|valid|test/]<song>/<stem>.wav (or flac, ogg, mp3, …)", Path.is_dir, rank=100)
def list_folders(root: Path) -> list[Song]:
    """List the songs of root/[train|valid|test/]<song>/<stem>.<ext>; a stem named "mixture" is the mixed song.

    A folder in the song's is a stem too, the sum of the audio files in it: drums/kick.wav and drums/snare.wav make
    "drums". File names are never taken apart: drums_1.wav is a stem "drums_1". A song in which two claim the same stem
    carries the fault.
    """
    splits: list[tuple[Split, Path]] = [(split, root / split) for split in SPLITS if (root / split).is_dir()]
    return collect(
        (path.name, split, partial(_song, path, split))
        for split, folder in splits or [("train", root)]
        for path in entries(folder)
        if path.is_dir()
    )


def _song(folder: Path, split: Split) -> Song | None:
    found: dict[str, Path] = {}
    sources: dict[str, Source] = {}
    for path in entries(folder):
        files = [Source(file) for file in (entries(path) if path.is_dir() else [path]) if _is_audio(file)]
        if not files:
            continue
        stem = path.name if path.is_dir() else path.stem
        if stem in found:
            raise DataError(
                f"The song {folder} has two files for the stem {stem!r}, {found[stem].name} and {path.name}: "
                "remove one of them."
            )
        found[stem], sources[stem] = path, summed(files)
    mixture = sources.pop(MIXTURE, None)
    return Song(folder.name, split, sources, mixture) if sources else None


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
