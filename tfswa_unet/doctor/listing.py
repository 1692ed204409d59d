"""Listing of a data set for its diagnosis: its songs, and findings about those that its layout refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data.sets import musdb
from tfswa_unet.data.sets.folders import list_folders
from tfswa_unet.data.sets.layouts import LAYOUTS, Song, assign, detect, entries, kinds
from tfswa_unet.data.sets.manifest import is_manifest
from tfswa_unet.data.tracks import bind_lister
from tfswa_unet.doctor.findings import Finding
from tfswa_unet.errors import DataError, unknown
from tfswa_unet.types import MIXTURE, SPLITS, STEMS, Source, Split

FOLDERS = ("musdb18hq", "folders")  # the layouts with a folder a song and a file a stem


@dataclass(frozen=True)
class Listing:
    """Songs in their final splits, the stems that each must have, and the findings of the listing itself."""

    kind: str
    songs: tuple[Song, ...]
    expected: tuple[str, ...]
    findings: tuple[Finding, ...]


def list_dataset(kind: str, root: Path, options: Mapping[str, Any]) -> Listing:
    """List a data set of any kind; no audio file is opened.

    Raises ConfigError for an unknown kind or option, and DataError where the root is missing or holds nothing of the
    kind.
    """
    if kind not in kinds():
        raise unknown("--kind", kind, kinds())
    if not root.exists():
        raise DataError(f"{root} does not exist: give the folder that holds the data set's songs")
    if not (root.is_dir() and kind != "manifest") and not (is_manifest(root) and kind in ("manifest", "auto")):
        raise DataError(f"{root} is no data set of kind {kind}: give a folder of songs, or their table (.csv, .json)")
    kind = detect(root) if kind == "auto" else kind
    list_songs, layout = bind_lister(kind, options), LAYOUTS[kind]
    listed = _list_musdb18hq(root) if kind == "musdb18hq" else list_songs(root)
    findings = list(_empty_folders(root, listed)) if kind in FOLDERS else []
    if not listed and not findings:
        raise DataError(f"No songs found under {root}: expected {layout.expected}")
    songs = []
    for song in listed:
        examined, faults = _salvage(root, song, kind) if song.fault else ([song], [])
        songs += examined
        findings += faults
    kept = assign(songs, musdb.validation_names() if layout.official else ())
    findings += _set_aside(songs, kept)
    order = sorted(kept, key=lambda song: (SPLITS.index(song.split), song.name))
    return Listing(kind, tuple(order), STEMS if kind in ("musdb18", "musdb18hq") else (), tuple(findings))


def _list_musdb18hq(root: Path) -> list[Song]:
    # As folders, because its own layout refuses a song that lacks a stem.
    songs = []
    for song in list_folders(root) if _split_folders(root)[0][1] != root else []:
        own = {stem: song.sources[stem] for stem in STEMS if stem in song.sources}
        own = {stem: source for stem, source in own.items() if source.path.suffix == ".wav" and not source.more}
        if own or song.fault:
            songs.append(replace(song, sources=own))
    return songs


def _empty_folders(root: Path, songs: Sequence[Song]) -> Iterator[Finding]:
    full = {(song.split, song.name) for song in songs}
    for split, folder in _split_folders(root):
        folders = [path for path in entries(folder) if path.is_dir()]
        if not folders and folder != root:
            what, remedy = "the folder of this split is empty", "put its songs there, or remove the folder"
            yield Finding("warning", "empty", split, "", "", what, remedy, (folder,))
        for path in folders:
            if (split, path.name) not in full:
                what, remedy = "the folder holds no stems", "put the song's stems there, or remove the folder"
                yield Finding("warning", "empty", split, path.name, "", what, remedy, (path,))


def _split_folders(root: Path) -> list[tuple[Split, Path]]:
    return [(split, root / split) for split in SPLITS if (root / split).is_dir()] or [("train", root)]


def _salvage(root: Path, song: Song, kind: str) -> tuple[list[Song], list[Finding]]:
    """What can be examined of a song that its layout refuses, and why it does."""
    folder = dict(_split_folders(root)).get(song.split, root) / song.name
    sources: dict[str, Source] = {}
    faults = []
    if kind in FOLDERS and folder.is_dir():
        wanted = {".wav"} if kind == "musdb18hq" else SUFFIXES
        for path in (path for path in entries(folder) if path.suffix.lower() in wanted and path.is_file()):
            if path.stem in sources:
                what = f"{sources[path.stem].path.name} and {path.name} are two files for one stem"
                faults.append(Finding.of(song, "error", "two-files", path.stem, what, "remove one", path))
            sources.setdefault(path.stem, Source(path))
    mixture = sources.pop(MIXTURE, None)
    if not sources or (kind == "folders" and not faults):
        remedy = "put this right first: until then the song is not examined"
        return [], [Finding.of(song, "error", "layout", "", str(song.fault), remedy, folder)]
    return [replace(song, sources=sources, mixture=mixture, fault=None)], faults


def _set_aside(songs: Sequence[Song], kept: Sequence[Song]) -> Iterator[Finding]:
    left = [(song.name, song.sources) for song in kept]
    what = "lies in train and in valid under one name, and only validates"
    for song in songs:
        if (song.name, song.sources) not in left:
            paths = [part.path for source in song.sources.values() for part in source.parts]
            yield Finding.of(song, "warning", "set-aside", "", what, "remove one", *paths)
