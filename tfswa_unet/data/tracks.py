"""The one way from a folder on disk to the tracks of a split, whatever the data set's layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.data import musdb
from tfswa_unet.data.folders import list_folders
from tfswa_unet.data.indexing import index
from tfswa_unet.data.songs import Song, entries
from tfswa_unet.data.splits import assign
from tfswa_unet.errors import DataError, unknown
from tfswa_unet.types import SPLITS, Split, Track

WAYS_ON = "set data.root=/path/to/musdb18hq, or make songs to train on with data=synthetic"


@dataclass(frozen=True)
class Layout:
    """How the songs of a data set lie on disk."""

    expected: str
    list_songs: Callable[[Path], list[Song]]
    official: bool  # whether MUSDB18's own validation songs apply


LAYOUTS = {
    "musdb18": Layout("train|test/<song>.stem.mp4", musdb.list_musdb18, official=True),
    "musdb18hq": Layout("train|test/<song>/{vocals,drums,bass,other}.wav", musdb.list_musdb18hq, official=True),
    "folders": Layout("[train|valid|test/]<song>/<stem>.wav (or flac, ogg, mp3, …)", list_folders, official=False),
}
KINDS = (*LAYOUTS, "auto")


def load_tracks(kind: str, root: str | Path, split: Split | None = None) -> list[Track]:
    """Return the tracks of one split, or of all with None, in the order of their names.

    `kind` is a layout ("musdb18", "musdb18hq", "folders") or "auto", which looks. Only the files of the asked split are
    opened. Raises ConfigError for an unknown kind or split, and DataError where the root is missing, holds no songs or
    none of the split, or where the stems of a track differ in length or rate.
    """
    root = Path(root).expanduser()
    if kind not in KINDS:
        raise unknown("data.kind", kind, KINDS)
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The data root {root} {what}, expected {_expected(kind)}: {WAYS_ON}.")
    layout = LAYOUTS[detect(root) if kind == "auto" else kind]
    songs = layout.list_songs(root)
    if not songs:
        raise DataError(f"No songs found under {root}{_nested(root)}, expected {_expected(kind)}: {WAYS_ON}.")
    songs = assign(songs, musdb.validation_names() if layout.official else ())
    chosen = [song for song in songs if split in (None, song.split)]
    if not chosen:
        raise DataError(f"{root} has no songs to {_use(split)} ({_counts(songs)}): put some into {root / str(split)}.")
    return index(sorted(chosen, key=lambda song: (SPLITS.index(song.split), song.name)))


def detect(root: Path) -> str:
    """Return the layout under `root`: "musdb18", "musdb18hq" or else "folders"."""
    if musdb.list_musdb18(root):
        return "musdb18"
    songs = list_folders(root)
    has_splits = any((root / split).is_dir() for split in SPLITS)
    sources = [source for song in songs for source in song.sources.items()]
    is_musdb = {stem for stem, _ in sources} == set(musdb.STEMS) and all(s.path.suffix == ".wav" for _, s in sources)
    return "musdb18hq" if has_splits and is_musdb else "folders"


def _expected(kind: str) -> str:
    layouts = LAYOUTS.values() if kind == "auto" else [LAYOUTS[kind]]
    return " or ".join(layout.expected for layout in layouts)


def _nested(root: Path) -> str:
    inner = next((path for path in entries(root) if any((path / split).is_dir() for split in SPLITS)), None)
    return f" (did you mean {inner}?)" if inner else ""


def _use(split: Split | None) -> str:
    return {"train": "train on", "valid": "validate with", "test": "test with"}.get(str(split), "use")


def _counts(songs: list[Song]) -> str:
    return ", ".join(f"{split} {sum(song.split == split for song in songs)}" for split in SPLITS)
