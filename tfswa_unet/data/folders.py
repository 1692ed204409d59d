"""One's own songs: a folder a song, a file a stem, the file's name being the stem's."""

from __future__ import annotations

from pathlib import Path

from tfswa_unet.data.songs import Song, entries
from tfswa_unet.errors import DataError
from tfswa_unet.types import SPLITS, Source, Split

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aif", ".aiff", ".w64", ".caf"})
MIXTURE = "mixture"


def list_folders(root: Path) -> list[Song]:
    """Return the songs of root/[train|valid|test/]<song>/<stem>.<ext>; a stem named "mixture" is the mixed song.

    Raises DataError where two files of a song claim the same stem.
    """
    splits: list[tuple[Split, Path]] = [(split, root / split) for split in SPLITS if (root / split).is_dir()]
    return [
        song
        for split, folder in splits or [("train", root)]
        for path in entries(folder)
        if (song := _song(path, split)) is not None
    ]


def _song(folder: Path, split: Split) -> Song | None:
    files: dict[str, Path] = {}
    for path in entries(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in files:
            raise DataError(
                f"The song {folder} has two files for the stem {path.stem!r}, {files[path.stem].name} and {path.name}: "
                "remove one of them."
            )
        files[path.stem] = path
    sources = {stem: Source(path) for stem, path in files.items() if stem != MIXTURE}
    mixture = Source(files[MIXTURE]) if MIXTURE in files else None
    return Song(folder.name, split, sources, mixture) if sources else None
