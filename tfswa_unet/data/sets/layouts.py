"""The layouts of data sets on disk that are known, and how to tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfswa_unet.data.sets import manifest, musdb
from tfswa_unet.data.sets.folders import list_folders
from tfswa_unet.data.sets.medleydb import is_medleydb, list_medleydb
from tfswa_unet.data.sets.moisesdb import is_moisesdb, list_moisesdb
from tfswa_unet.data.sets.musdb import is_dsd100, list_dsd100
from tfswa_unet.data.sets.songs import Song
from tfswa_unet.errors import ConfigError, DataError, unknown
from tfswa_unet.types import SPLITS, STEMS


@dataclass(frozen=True)
class Layout:
    """How the songs of a data set lie on disk, how they are listed and with which options, and how they are known."""

    expected: str
    list_songs: Callable[..., list[Song]]
    is_at: Callable[[Path], bool]
    official: bool = False  # whether songs of MUSDB18 are among them, so that its own validation songs apply
    options: Mapping[str, type] = field(default_factory=dict)  # what `list_songs` takes

    @property
    def has_split_folders(self) -> bool:
        """Whether a song is in the split whose folder it lies in."""
        return "train|" in self.expected


def is_manifest(root: Path) -> bool:
    """Say whether `root` is a table of songs."""
    return root.is_file() and root.suffix.lower() in manifest.SUFFIXES


def _is_musdb18hq(root: Path) -> bool:
    songs = list_folders(root)
    sources = [source for song in songs for source in song.sources.items()]
    return (
        any((root / split).is_dir() for split in SPLITS)
        and {stem for stem, _ in sources} == set(STEMS)
        and all(source.path.suffix == ".wav" and not source.more for _, source in sources)
    )


# In this order "auto" tries them; what is none of the others are folders.
LAYOUTS = {
    "manifest": Layout("a table, songs.csv or .json", manifest.list_manifest, is_manifest),
    "musdb18": Layout(
        "train|test/<song>.stem.mp4", musdb.list_musdb18, lambda root: bool(musdb.list_musdb18(root)), True
    ),
    "dsd100": Layout("Sources/Dev|Test/<song>/{vocals,drums,bass,other}.wav", list_dsd100, is_dsd100, True),
    "medleydb": Layout(
        "[Audio|V1|V2/]<song>/<song>_STEMS/ and <song>_METADATA.yaml",
        list_medleydb,
        is_medleydb,
        True,
        {"bleed": bool, "instruments": Mapping},
    ),
    "moisesdb": Layout(
        "[<provider>/]<uuid>/data.json and <uuid>/<stem>/",
        list_moisesdb,
        is_moisesdb,
        options={"grouping": str, "bleed": bool},
    ),
    "musdb18hq": Layout("train|test/<song>/{vocals,drums,bass,other}.wav", musdb.list_musdb18hq, _is_musdb18hq, True),
    "folders": Layout("[train|valid|test/]<song>/<stem>.wav (or flac, ogg, mp3, …)", list_folders, Path.is_dir),
}
KINDS = (*LAYOUTS, "auto")
_EXPECTED: Mapping[type, str] = {
    str: "a name",
    bool: "true or false",
    Mapping: "a mapping such as {kazoo: other}",
}


def detect(root: Path) -> str:
    """Return the kind of data set at `root`, a key of `LAYOUTS`; raises DataError where there is none."""
    kind = next((kind for kind, layout in LAYOUTS.items() if layout.is_at(root)), None)
    if kind is None:
        what = "is neither a folder nor a table of songs" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}: give a folder of songs, or their table ({', '.join(manifest.SUFFIXES)}).")
    return kind


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for options that data sets of this kind do not take, or for values of another type."""
    known = LAYOUTS[kind].options
    for name, value in options.items():
        if not known:
            raise ConfigError(f"Data sets of kind {kind} take no options, got {name}: leave it out.")
        if name not in known:
            raise unknown(f"option of {kind} data sets", name, known)
        if not isinstance(value, known[name]):
            raise ConfigError(f"The option {name} of {kind} data sets is {value!r}, expected {_EXPECTED[known[name]]}.")
