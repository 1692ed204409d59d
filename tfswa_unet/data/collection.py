"""Data sets as a configuration names them, and all their songs as one collection of tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from tfswa_unet import audio
from tfswa_unet.config import converted
from tfswa_unet.data.sets.layouts import Layout
from tfswa_unet.data.sets.songs import Song, key
from tfswa_unet.data.tracks import OnError, Probe, find_songs, index
from tfswa_unet.errors import ConfigError, DataError, unknown
from tfswa_unet.types import SPLITS, Split, Track

SHORTCUTS = ("kind", "root")  # keys of data that stand for those of the only set
USES: Mapping[Split | None, str] = {"train": "train on", "valid": "validate with", "test": "test with", None: "use"}


@dataclass(frozen=True)
class Make:
    """Synthetic songs that are written to a data set's root where they are missing; see `songs.write_dataset`."""

    tracks: int
    seconds: float
    seed: int
    test_tracks: int | None
    band: int | None


@dataclass(frozen=True)
class DataSet:
    """One data set, see conf/data.

    Args:
        kind: a key of `DATA_SETS`, or "auto".
        root: its folder, or its table of songs.
        weight: how often it is drawn from, relative to the other data sets.
        options: of its kind; what is left out is as conf/data says.
        make: the songs to make where they are missing.
    """

    kind: str
    root: str
    weight: float
    options: Mapping[str, Any] = field(default_factory=dict)
    make: Make | None = None

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
        sets: the data sets by name; see `list_data` for songs that several hold.
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
        found = index(sorted(each, key=_by_split), on_error, probe) if each else []
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
    """`load_data` for a single data set."""
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
    if not several:
        return {name: songs for name, (_, songs) in found.items()}
    return _told_apart(_without_doubles(found))


def chances(tracks: Sequence[Track], holders: Iterable[int]) -> np.ndarray:
    """How likely each of `tracks` is drawn: the collections by their weights, and the `holders` in one alike.

    Other tracks than the `holders`, which are numbers of tracks, are never drawn.
    """
    held = tuple(holders)
    sizes = Counter(tracks[number].collection for number in held)
    result = np.zeros(len(tracks))
    for number in held:
        result[number] = tracks[number].weight / sizes[tracks[number].collection]
    return result / result.sum()


def _by_split(song: Song) -> tuple[int, str]:
    return SPLITS.index(song.split), song.name


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


def _without_doubles(found: Mapping[str, tuple[Layout, list[Song]]]) -> dict[str, list[Song]]:
    """Each data set's songs, without those that a relative before it holds or that would train and be measured."""
    measured = {
        key(song.name)
        for layout, songs in found.values()
        for song in songs
        if layout.official and song.split != "train"
    }
    seen: set[str] = set()
    result = {}
    for name, (layout, songs) in found.items():
        kept = [song for song in songs if not layout.official or _is_new(song, seen, measured)]
        seen |= {key(song.name) for song in kept if layout.official}
        result[name] = kept
    return result


def _is_new(song: Song, seen: set[str], measured: set[str]) -> bool:
    return key(song.name) not in seen and (song.split != "train" or key(song.name) not in measured)


def _told_apart(found: Mapping[str, list[Song]]) -> dict[str, list[Song]]:
    names: set[str] = set()
    result = {}
    for name, songs in found.items():
        result[name] = [replace(song, name=f"{song.name} ({name})") if song.name in names else song for song in songs]
        names |= {song.name for song in result[name]}
    return result
