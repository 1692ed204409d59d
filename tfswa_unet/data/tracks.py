"""From data sets on disk to tracks: songs listed, split, opened, and several sets drawn from by weight."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tfswa_unet import audio
from tfswa_unet.config import choice, converted
from tfswa_unet.data.sets import musdb
from tfswa_unet.data.sets.layouts import (
    AUTO,
    DATA_SETS,
    LAYOUTS,
    Layout,
    Song,
    assign,
    detect,
    entries,
    key,
    kinds,
    summed,
)
from tfswa_unet.data.sets.manifest import is_manifest
from tfswa_unet.errors import AudioError, ConfigError, DataError, UserError, unknown
from tfswa_unet.types import MIXTURE, SPLITS, Source, Split, Track

THREADS = 8
HELD = "sets before it have or others measure by, as their names say: kind=folders tells songs of one name apart"
COMMON = ("musdb18", "musdb18hq", "folders")  # kinds that a message describes where any would do
OnError = Literal["raise", "skip"]
SHORTCUTS = ("kind", "root")  # keys of data that stand for those of the only set
USES: Mapping[Split | None, str] = {"train": "train on", "valid": "validate with", "test": "test with", None: "use"}
Probe = Callable[[Path, int], audio.AudioInfo]

log = logging.getLogger(__name__)
_tell_once = cache(log.warning)  # songs are listed several times


@dataclass(frozen=True)
class Make:
    """Synthetic songs that are written to a data set's root where they are missing; see `songs.write_dataset`."""

    tracks: int
    seconds: float
    seed: int
    test_tracks: int | None
    band: int | None
    stabs: float


@dataclass(frozen=True)
class Render:
    """Songs rendered from recordings, written to a data set's root where missing; see `songs.write_rendered`."""

    samples: str  # folder of recordings
    midi: str | None  # folder of MIDI files
    songs: int
    seconds: float
    seed: int
    on_error: OnError  # of a recording


@dataclass(frozen=True)
class DataSet:
    """One data set, see conf/data.

    Args:
        kind: a key of `DATA_SETS`, or "auto".
        root: its folder, or its table of songs.
        weight: how often it is drawn from, relative to the other data sets.
        options: of its kind; what is left out is as conf/data says.
        make: synthetic songs to make where they are missing.
        render: songs to render where they are missing.
    """

    kind: str
    root: str
    weight: float
    options: Mapping[str, Any] = field(default_factory=dict)
    make: Make | None = None
    render: Render | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.weight) and self.weight > 0):
            raise ConfigError(
                f"the weight of the data set at {self.root} is {self.weight:g}, expected more than 0; leave the data "
                "set out to draw nothing from it (~data.sets.NAME)"
            )


def data_sets(config: Mapping[str, Any]) -> dict[str, DataSet]:
    """The data sets of a data configuration: its `sets`, of which `kind` and `root`, where given, change the only one.

    Raises:
        ConfigError: no data sets, several and yet a `kind` or `root`, or impossible values of one.
    """
    sets: Any = config["sets"]
    if not isinstance(sets, Mapping) or not sets:
        form = "{musdb18hq: {kind: musdb18hq, root: ROOT, weight: 1}}"
        raise ConfigError(f"data.sets is {sets!r}, expected data sets by their names, such as {form}")
    given = {name: config[name] for name in SHORTCUTS if config[name] is not None}
    if given and len(sets) > 1:
        keys = [f"data.sets.{name}.{shortcut}" for shortcut in given for name in sets]
        raise ConfigError(
            f"data.{' and data.'.join(given)} cannot be for several data sets at once, and {', '.join(sets)} are "
            f"chosen: set {' or '.join(keys)} instead"
        )
    if given:
        sets = {name: {**values, **given} if isinstance(values, Mapping) else values for name, values in sets.items()}
    return converted(sets, dict[str, DataSet], "data.sets")


def load_data(
    sets: Mapping[str, DataSet], split: Split | None = None, *, on_error: OnError = "raise", probe: Probe = audio.probe
) -> list[Track]:
    """Open the tracks of one split, or of all with None: set by set, in the order of splits and of names.

    Args:
        sets: data sets by name; see `list_data` for songs that several hold.
        split: only files of this split are opened. A data set may have none of it, as long as another has some.
        on_error: "skip" logs, counts and leaves out songs that cannot be used.
        probe: opens files; that of a `PcmCache` remembers what it saw.

    Raises:
        ConfigError: an unknown kind, option, split or `on_error`.
        DataError: a root is missing or holds no songs, none of them has the split, or a song's files do not fit.
        AudioError: a file cannot be read.
    """
    if split not in USES:
        raise unknown("split", split, SPLITS)
    songs = list_data(sets)
    chosen = {name: [song for song in each if split in (None, song.split)] for name, each in songs.items()}
    if not any(chosen.values()):
        raise _nothing_to_use(sets, [song for each in songs.values() for song in each], split)
    tracks: list[Track] = []
    for name, each in chosen.items():
        found = (
            index(sorted(each, key=lambda song: (SPLITS.index(song.split), song.name)), on_error, probe) if each else []
        )
        tracks += [replace(track, collection=name, weight=sets[name].weight) for track in found]
    return tracks


def load_tracks(
    kind: str,
    root: str | Path,
    split: Split | None = None,
    *,
    on_error: OnError = "raise",
    options: Mapping[str, Any] | None = None,
    probe: Probe = audio.probe,
) -> list[Track]:
    """Open the tracks of a single data set; see `load_data`."""
    return load_data({kind: DataSet(kind, str(root), 1.0, options or {})}, split, on_error=on_error, probe=probe)


def list_data(sets: Mapping[str, DataSet]) -> dict[str, list[Song]]:
    """List the songs of every data set, no audio file opened.

    A song of MUSDB18 that several of its relatives hold (DSD100, MedleyDB) is taken from the first, and never trains
    where it validates or tests; of other songs with one name, later ones are told apart by their data set's name.

    Raises ConfigError and DataError as `load_data` does.
    """
    several = len(sets) > 1
    found = {
        name: find_songs(each.kind, each.root, each.options, name if several else None) for name, each in sets.items()
    }
    official = [song for layout, songs in found.values() if layout.official for song in songs]
    measured = {key(song.name) for song in official if song.split != "train"}
    seen: set[str] = set()
    names: set[str] = set()
    result = {}
    for name, (layout, songs) in found.items():
        if several and layout.official:
            held = measured | seen
            kept = [song for song in songs if key(song.name) not in (held if song.split == "train" else seen)]
            if len(kept) < len(songs):
                _tell_once(f"data.sets.{name}: {len(songs) - len(kept)} of {len(songs)} songs left out, which {HELD}")
            songs = kept
            seen |= {key(song.name) for song in songs}
        if several:
            songs = [replace(song, name=f"{song.name} ({name})") if song.name in names else song for song in songs]
            names |= {song.name for song in songs}
        result[name] = songs
    return result


def find_songs(
    kind: str,
    root: str | Path,
    options: Mapping[str, Any] | None = None,
    name: str | None = None,
    *,
    way_on: str | None = None,
) -> tuple[Layout, list[Song]]:
    """List the songs of a data set with their final splits; no audio file is opened.

    Args:
        kind: a key of `DATA_SETS`, or "auto", which looks.
        root: the data set's folder, or its table.
        options: of the kind; what is left out is as conf/data says.
        name: what the configuration calls the data set where there are several, for messages.
        way_on: what messages tell the user to do where there are no songs; by default, to set the root.

    Raises:
        ConfigError: an unknown kind or option.
        DataError: the root is missing or holds no songs.
    """
    root = Path(root).expanduser()
    if kind not in kinds():
        raise unknown(DATA_SETS.key, kind, kinds())
    if way_on is None:
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
    """The lister of a kind of data set, bound to its options; see `find_songs`."""
    usual = choice("data", kind)["sets"][kind]["options"] if DATA_SETS.options(kind) else {}
    return DATA_SETS.bind(kind, {**usual, **options}, where=f"data.sets.{name or kind}.options")


def index(songs: Sequence[Song], on_error: OnError = "raise", probe: Probe = audio.probe) -> list[Track]:
    """Open the files of songs, in a few threads, for lengths and rates: tracks.

    A song that cannot be used is refused, or, with on_error "skip", logged in a sentence, left out and counted.

    Raises:
        AudioError: a file of the named track cannot be read.
        DataError: the files of one song differ in length, rate or channels, or no song is left.
        ConfigError: another `on_error`.
    """
    check_on_error(on_error)
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


def check_on_error(on_error: OnError) -> None:
    """Raise ConfigError for what is neither "raise" nor "skip"."""
    if on_error not in (known := get_args(OnError)):
        raise unknown("data.on_error", on_error, known)


def chances(tracks: Sequence[Track], holders: Iterable[int]) -> np.ndarray:
    """Probability of each track: collections by their weights, and the `holders` in one alike.

    `holders` are numbers of tracks; the others are never drawn.
    """
    held = tuple(holders)
    sizes = Counter(tracks[number].collection for number in held)
    result = np.zeros(len(tracks))
    for number in held:
        result[number] = tracks[number].weight / sizes[tracks[number].collection]
    return result / result.sum()


def _nothing_to_use(sets: Mapping[str, DataSet], songs: Sequence[Song], split: Split | None) -> DataError:
    counts = ", ".join(f"{each} {sum(song.split == each for song in songs)}" for each in SPLITS)
    if len(sets) > 1:
        return DataError(
            f"None of the data sets {', '.join(sets)} has songs to {USES[split]} ({counts}): add a data set that has "
            "some."
        )
    (only,) = sets.values()
    folders = find_songs(only.kind, only.root, only.options)[0].has_split_folders
    way_on = f"put some into {Path(only.root) / str(split)}" if folders else "choose another split"
    return DataError(f"{only.root} has no songs to {USES[split]} ({counts}): {way_on}.")


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
