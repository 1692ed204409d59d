"""Several data sets as one collection of tracks, each drawn from by its weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from tfswa_unet import audio
from tfswa_unet.config import from_values
from tfswa_unet.data.sets.layouts import Layout
from tfswa_unet.data.sets.songs import Song, key
from tfswa_unet.data.tracks import OnError, Probe, check_split, counts, find_songs, in_order, index, load_tracks
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.types import Split, Track

MIXTURE = "mixture"
WAYS_ON = "set its root in 'data.mixture=[{kind: KIND, root: /path/to/it}, …]'"


@dataclass(frozen=True)
class DataSet:
    """One data set of a mixture: how often it is drawn from, relative to the others, is its weight."""

    kind: str
    root: str
    weight: float = 1.0
    name: str | None = None  # the kind where null
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float):
            raise ConfigError(f"data.mixture: the weight {self.weight!r} of {self.root} is no number.")
        if not (isfinite(self.weight) and self.weight > 0):
            raise ConfigError(
                f"data.mixture: the weight of {self.root} is {self.weight}, expected more than 0; remove the data set "
                "to draw nothing from it."
            )


def load_data(config: Mapping[str, Any], split: Split | None = None, *, probe: Probe = audio.probe) -> list[Track]:
    """Return the tracks of a data configuration: kind, root and, where given, options, on_error and mixture.

    With the kind "mixture", `config["mixture"]` lists the data sets, mappings with the fields of `DataSet`; one that
    has no songs of the split gives none. A song of MUSDB18 that several of its relatives hold (DSD100, MedleyDB) is
    taken from the first, and never trains where it validates or tests; of other songs with one name, later ones are
    told apart by their data set's name.

    Raises:
        ConfigError: an impossible mixture, and as `load_tracks`.
        DataError, AudioError: as `load_tracks`.
    """
    on_error, options = config.get("on_error", "raise"), config.get("options")
    if config["kind"] != MIXTURE:
        if config.get("mixture"):
            raise ConfigError(f"data.mixture is given with data.kind={config['kind']}: set data.kind={MIXTURE}.")
        return load_tracks(config["kind"], config["root"], split, on_error=on_error, options=options, probe=probe)
    check_split(split)
    sets = _sets(config.get("mixture") or ())
    found = _told_apart(_without_doubles(_found(sets)), sets)
    songs = [[song for song in each if split in (None, song.split)] for each in found]
    if not any(songs):
        raise DataError(
            f"None of the data sets of data.mixture has songs of the split {split!r} "
            f"({counts([song for each in found for song in each])}): add a data set that has some."
        )
    return [
        track
        for each, chosen in zip(sets, songs, strict=True)
        if chosen
        for track in _tracks(each, chosen, on_error, probe)
    ]


def chances(tracks: Sequence[Track], holders: Iterable[int]) -> np.ndarray:
    """Return how likely each of `tracks` is drawn, the collections by their weights and the `holders` in one alike.

    Other tracks than the `holders`, which are numbers of tracks, are never drawn.
    """
    held = tuple(holders)
    sizes = Counter(tracks[number].collection for number in held)
    result = np.zeros(len(tracks))
    for number in held:
        result[number] = tracks[number].weight / sizes[tracks[number].collection]
    return result / result.sum()


def _sets(values: Sequence[Any]) -> list[DataSet]:
    if isinstance(values, str) or not values or not all(isinstance(each, Mapping) for each in values):
        raise ConfigError(
            f"data.mixture is {values!r}, expected a list of data sets such as "
            "[{kind: musdb18hq, root: ROOT, weight: 1}]."
        )
    sets = [from_values(DataSet, each, f"data.mixture[{number}]") for number, each in enumerate(values)]
    sets = [replace(each, name=each.name or each.kind) for each in sets]
    twice = next((name for name, count in Counter(each.name for each in sets).items() if count > 1), None)
    if twice:
        raise ConfigError(f"data.mixture has two data sets called {twice!r}: give each a name of its own.")
    return sets


def _found(sets: Sequence[DataSet]) -> list[tuple[Layout, list[Song]]]:
    return [find_songs(each.kind, each.root, each.options, WAYS_ON) for each in sets]


def _without_doubles(found: Sequence[tuple[Layout, list[Song]]]) -> list[list[Song]]:
    """Each data set's songs, without those that a relative before it holds or that would train and be measured."""
    measured = {
        key(song.name) for layout, songs in found for song in songs if layout.official and song.split != "train"
    }
    seen: set[str] = set()
    result = []
    for layout, songs in found:
        kept = [song for song in songs if not layout.official or _is_new(song, seen, measured)]
        seen |= {key(song.name) for song in kept if layout.official}
        result.append(kept)
    return result


def _is_new(song: Song, seen: set[str], measured: set[str]) -> bool:
    return key(song.name) not in seen and (song.split != "train" or key(song.name) not in measured)


def _told_apart(found: Sequence[list[Song]], sets: Sequence[DataSet]) -> list[list[Song]]:
    names: set[str] = set()
    result = []
    for songs, each in zip(found, sets, strict=True):
        result.append(
            [replace(song, name=f"{song.name} ({each.name})") if song.name in names else song for song in songs]
        )
        names |= {song.name for song in result[-1]}
    return result


def _tracks(each: DataSet, songs: Sequence[Song], on_error: OnError, probe: Probe) -> list[Track]:
    tracks = index(in_order(songs), on_error, probe)
    return [replace(track, collection=each.name or "", weight=float(each.weight)) for track in tracks]
