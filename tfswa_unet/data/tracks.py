"""The one way from a folder on disk to the tracks of a split, whatever the data set's layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfswa_unet import audio
from tfswa_unet.data.indexing import OnError, Probe, index
from tfswa_unet.data.sets import musdb
from tfswa_unet.data.sets.layouts import KINDS, LAYOUTS, Layout, check_options, detect, is_manifest
from tfswa_unet.data.sets.songs import Song, entries
from tfswa_unet.data.sets.splits import assign
from tfswa_unet.errors import DataError, unknown
from tfswa_unet.types import SPLITS, Split, Track

WAYS_ON = "set data.root=/path/to/musdb18hq, or make songs to train on with data=synthetic"


def load_tracks(
    kind: str,
    root: str | Path,
    split: Split | None = None,
    *,
    on_error: OnError = "raise",
    options: Mapping[str, Any] | None = None,
    probe: Probe = audio.probe,
) -> list[Track]:
    """Return the tracks of one split, or of all with None, in the order of their names.

    `kind` is a layout of `LAYOUTS` or "auto", which looks; `options` are what its lister takes. Only the files of the
    asked split are opened. With on_error "skip", songs that cannot be used are logged, counted and left out. `probe`
    opens files; that of a `PcmCache` remembers what it saw.

    Raises:
        ConfigError: an unknown kind, split or option.
        DataError: the root is missing, holds no songs or none of the split, or a track's files do not fit each other.
        AudioError: a file cannot be read.
    """
    check_split(split)
    layout, songs = find_songs(kind, root, options)
    chosen = [song for song in songs if split in (None, song.split)]
    if not chosen:
        where = f"put some into {Path(root) / str(split)}" if layout.has_split_folders else "choose another split"
        raise DataError(f"{root} has no songs to {_use(split)} ({counts(songs)}): {where}.")
    return index(in_order(chosen), on_error, probe)


def find_songs(
    kind: str, root: str | Path, options: Mapping[str, Any] | None = None, ways_on: str = WAYS_ON
) -> tuple[Layout, list[Song]]:
    """Return the layout of a data set and all its songs with their final splits, no file opened.

    Raises ConfigError and DataError as `load_tracks` does; `ways_on` is what to do where there are no songs.
    """
    root = Path(root).expanduser()
    if kind not in KINDS:
        raise unknown("data.kind", kind, KINDS)
    _check_root(kind, root, ways_on)
    found = detect(root) if kind == "auto" else kind
    check_options(found, options or {})
    layout = LAYOUTS[found]
    songs = layout.list_songs(root, **(options or {}))
    if not songs:
        raise DataError(f"No songs found under {root}{_nested(root)}, expected {_expected(kind)}: {ways_on}.")
    return layout, assign(songs, musdb.validation_names() if layout.official else ())


def check_split(split: Split | None) -> None:
    """Raise ConfigError for a split that is none."""
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)


def in_order(songs: Iterable[Song]) -> list[Song]:
    """Return songs by split, then by name."""
    return sorted(songs, key=lambda song: (SPLITS.index(song.split), song.name))


def counts(songs: Sequence[Song]) -> str:
    """Return how many songs each split has, as "train 2, valid 1, test 0"."""
    return ", ".join(f"{split} {sum(song.split == split for song in songs)}" for split in SPLITS)


def _check_root(kind: str, root: Path, ways_on: str) -> None:
    if kind in ("manifest", "auto") and is_manifest(root):
        return
    if not root.exists():
        what = "does not exist"
    elif kind == "manifest":
        what = "is no CSV or JSON file"
    elif not root.is_dir():
        what = "is not a folder"
    else:
        return
    raise DataError(f"The data root {root} {what}, expected {_expected(kind)}: {ways_on}.")


def _expected(kind: str) -> str:
    if kind != "auto":
        return LAYOUTS[kind].expected
    common = ("musdb18", "musdb18hq", "folders")
    others = ", ".join(name for name in LAYOUTS if name not in common)
    return " or ".join(LAYOUTS[name].expected for name in common) + f" (or one of {others})"


def _nested(root: Path) -> str:
    inner = next((path for path in entries(root) if any((path / split).is_dir() for split in SPLITS)), None)
    return f" (did you mean {inner}?)" if inner else ""


def _use(split: Split | None) -> str:
    return {"train": "train on", "valid": "validate with", "test": "test with"}.get(str(split), "use")
