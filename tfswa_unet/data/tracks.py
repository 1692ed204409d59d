"""From the root of a data set to its songs, by name alone, and from songs to tracks: every file is opened once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from tfswa_unet import audio
from tfswa_unet.config import choice
from tfswa_unet.data.sets import musdb
from tfswa_unet.data.sets.layouts import AUTO, DATA_SETS, LAYOUTS, Layout, detect, kinds
from tfswa_unet.data.sets.manifest import is_manifest
from tfswa_unet.data.sets.songs import Song, assign, entries, summed
from tfswa_unet.errors import AudioError, DataError, UserError, unknown
from tfswa_unet.types import MIXTURE, SPLITS, Source, Track

THREADS = 8
COMMON = ("musdb18", "musdb18hq", "folders")  # kinds that a message describes where any would do
OnError = Literal["raise", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
Probe = Callable[[Path, int], audio.AudioInfo]

log = logging.getLogger(__name__)


def find_songs(
    kind: str, root: str | Path, options: Mapping[str, Any] | None = None, name: str | None = None
) -> tuple[Layout, list[Song]]:
    """List the songs of a data set with their final splits; no audio file is opened.

    Args:
        kind: a key of `DATA_SETS`, or "auto", which looks.
        root: the data set's folder, or its table.
        options: of the kind; what is left out is as conf/data says.
        name: what the configuration calls the data set where there are several, for messages.

    Raises:
        ConfigError: an unknown kind or option.
        DataError: the root is missing or holds no songs.
    """
    root = Path(root).expanduser()
    if kind not in kinds():
        raise unknown(DATA_SETS.key, kind, kinds())
    way_on = "set data.root=/path/to/musdb18hq, or make songs to train on with data=synthetic"
    if name is not None:
        way_on = f"set data.sets.{name}.root=/path/to/it"
    _check_root(kind, root, way_on)
    found = detect(root) if kind == AUTO else kind
    songs = bind_lister(found, options or {}, name)(root)
    if not songs:
        raise DataError(f"No songs found under {root}{_nested(root)}, expected {_expected(kind)}: {way_on}.")
    layout = LAYOUTS[found]
    return layout, assign(songs, musdb.validation_names() if layout.official else ())


def bind_lister(kind: str, options: Mapping[str, Any], name: str | None = None) -> Callable[[Path], list[Song]]:
    """The lister of a kind of data set with its options; see `find_songs`."""
    usual = choice("data", kind)["sets"][kind]["options"] if DATA_SETS.options(kind) else {}
    return DATA_SETS.bind(kind, {**usual, **options}, where=f"data.sets.{name or kind}.options")


def index(songs: Sequence[Song], on_error: OnError = "raise", probe: Probe = audio.probe) -> list[Track]:
    """Make songs to tracks: open their files, in a few threads, for lengths and rates.

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


def _check_root(kind: str, root: Path, way_on: str) -> None:
    if kind in ("manifest", AUTO) and is_manifest(root):
        return
    if not root.exists():
        what = "does not exist"
    elif kind == "manifest":
        what = "is no CSV or JSON file"
    elif not root.is_dir():
        what = "is not a folder"
    else:
        return
    raise DataError(f"The data root {root} {what}, expected {_expected(kind)}: {way_on}.")


def _expected(kind: str) -> str:
    if kind != AUTO:
        return LAYOUTS[kind].expected
    others = ", ".join(name for name in kinds() if name not in (*COMMON, AUTO))
    return " or ".join(LAYOUTS[name].expected for name in COMMON) + f" (or one of {others})"


def _nested(root: Path) -> str:
    inner = next((path for path in entries(root) if any((path / split).is_dir() for split in SPLITS)), None)
    return f" (did you mean {inner}?)" if inner else ""


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
