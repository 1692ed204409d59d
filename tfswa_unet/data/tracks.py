"""From songs found by name to tracks: every file is opened once, for its length and rate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tfswa_unet import audio
from tfswa_unet.data.sets import musdb
from tfswa_unet.data.sets.layouts import KINDS, LAYOUTS, Layout, check_options, detect, is_manifest
from tfswa_unet.data.sets.songs import Song, assign, entries, summed
from tfswa_unet.errors import AudioError, DataError, UserError, unknown
from tfswa_unet.types import MIXTURE, SPLITS, Source, Split, Track

THREADS = 8
OnError = Literal["raise", "skip"]
Probe = Callable[[Path, int], audio.AudioInfo]
ON_ERROR: tuple[OnError, ...] = ("raise", "skip")

log = logging.getLogger(__name__)


def index(songs: Sequence[Song], on_error: OnError = "raise", probe: Probe = audio.probe) -> list[Track]:
    """Return the tracks of `songs`, probing their files in a few threads.

    A song that cannot be used is refused, or, with on_error "skip", logged in a sentence, left out and counted.

    Raises:
        AudioError: a file of the named track cannot be read.
        DataError: the files of one song differ in length, rate or channels, or no song is left.
        ConfigError: another `on_error`.
    """
    if on_error not in ON_ERROR:
        raise unknown("data.on_error", on_error, ON_ERROR)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(partial(_attempt, probe=probe), songs))
    faults = [item for item in found if isinstance(item, UserError)]
    if faults and on_error == "raise":
        raise faults[0]
    for fault in faults:
        log.warning("%s", fault)
    if faults and len(faults) == len(found):
        raise DataError(f"None of the {len(found)} songs can be used; the first: {faults[0]}")
    if faults:
        log.warning("%d of %d songs left out, for the reasons above (data.on_error=skip).", len(faults), len(found))
    return [item for item in found if isinstance(item, Track)]


def _attempt(song: Song, probe: Probe) -> Track | UserError:
    try:
        return _track(song, probe)
    except UserError as error:
        return error


@dataclass(frozen=True)
class _File:
    """One of the files that a song's stems are made of, opened."""

    stem: str
    label: str
    part: Source
    info: audio.AudioInfo

    @property
    def length(self) -> int:
        return self.info.length - self.part.start if self.part.length is None else self.part.length


def _track(song: Song, probe: Probe) -> Track:
    if song.fault is not None:
        raise song.fault
    named = dict(song.sources) | ({} if song.mixture is None else {MIXTURE: song.mixture})
    files = [
        _open(song, stem, part, len(source.parts), probe) for stem, source in named.items() for part in source.parts
    ]
    rate = _common(song, "rate", "Hz", [(file.label, file.info.rate) for file in files], "resample")
    for stem in named:
        counts = [(file.label, file.info.channels) for file in files if file.stem == stem and file.info.channels > 1]
        _common(song, "number of channels", "channels", counts, "mix")
    lengths = [(file.label, file.length) for file in files]
    if not song.ragged:
        length = _common(song, "length", "samples", lengths, "cut or pad")
        return Track(song.name, song.split, rate, length, song.sources, song.mixture)
    length = max(file.length for file in files)
    ended = {stem: summed([_ended(file, length) for file in files if file.stem == stem]) for stem in named}
    mixture = ended.pop(MIXTURE, None)
    return Track(song.name, song.split, rate, length, ended, mixture)


def _open(song: Song, stem: str, part: Source, count: int, probe: Probe) -> _File:
    try:
        info = probe(part.path, part.stream)
    except AudioError as error:
        raise AudioError(f"track {song.name!r}: {error}") from None
    file = _File(stem, stem if count == 1 else f"{stem}/{part.path.name}", part, info)
    if file.length < 1 or part.start + file.length > info.length:
        raise DataError(
            f"Track {song.name!r} takes samples {part.start} to {part.start + max(file.length, 0)} of {part.path}, "
            f"which has {info.length} ({info.seconds:.2f} s at {info.rate} Hz): choose an earlier start or a shorter "
            "duration."
        )
    return file


def _ended(file: _File, length: int) -> Source:
    return replace(file.part, more=(), length=file.length if file.length < length else None)


def _common(song: Song, quantity: str, unit: str, values: Sequence[tuple[str, int]], remedy: str) -> int:
    if len({value for _, value in values}) > 1:
        listed = ", ".join(f"{label} {value}" for label, value in values)
        raise DataError(
            f"The stems of track {song.name!r} ({_place(song)}) differ in {quantity}: {listed} {unit}; "
            f"{remedy} them to one {quantity} or remove the track."
        )
    return values[0][1] if values else 0


def _place(song: Song) -> str:
    source = next(iter(song.sources.values()))
    return str(source.path if source.stream else source.path.parent)


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
