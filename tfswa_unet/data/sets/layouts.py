"""Kinds of data sets: their registry, detection, the splits of their songs, what listers share, their sources."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tfswa_unet.config import Registry
from tfswa_unet.errors import DataError, UserError
from tfswa_unet.types import Source, Split

ONE_IN = 8  # training songs, of which one validates where a data set says nothing
AUTO = "auto"  # the kind that looks which it is
Lister = Callable[..., list["Song"]]
# Each maps the root of a data set, and its options by keyword, to its songs.
DATA_SETS: Registry[Lister] = Registry("data.kind", positional=1)
LAYOUTS: dict[str, Layout] = {}
# The table in a data set's folder of where its sound comes from, and under which licence.
TABLE = "SOURCES.tsv"
COLUMNS = ("folder", "source", "version", "licence", "stem", "seconds", "files")
SET = "data_set"  # added to a row: the name of its data set


@dataclass(frozen=True)
class Song:
    """One song of a data set, `split` being the folder that it lies in ("train" where there are no such folders).

    `ragged` songs come from data sets whose files end when they fall silent; the files of all others must be equally
    long. `fault` is why a song cannot be used, for whoever goes on without it.
    """

    name: str
    split: Split
    sources: Mapping[str, Source] = field(default_factory=dict)
    mixture: Source | None = None
    ragged: bool = False
    fault: UserError | None = None


@dataclass(frozen=True)
class Layout:
    """Layout of one kind of data set on disk.

    Args:
        expected: the files and folders under the root, in words.
        is_at: whether a data set at a root is of this kind.
        rank: kinds of a lower rank are tried first where the kind is "auto".
        official: whether songs of MUSDB18 are among them, so that MUSDB18's own validation songs apply.
    """

    expected: str
    is_at: Callable[[Path], bool]
    rank: int
    official: bool = False

    @property
    def has_split_folders(self) -> bool:
        """Whether a song is in the split whose folder it lies in."""
        return "train|" in self.expected


def data_set(
    name: str, expected: str, is_at: Callable[[Path], bool], rank: int, official: bool = False
) -> Callable[[Lister], Lister]:
    """Decorate the lister of a kind of data set: `name` chooses it from now on. See `Layout` for the rest."""

    def register(lister: Lister) -> Lister:
        LAYOUTS[name] = Layout(expected, is_at, rank, official)
        return DATA_SETS.register(name)(lister)

    return register


def kinds() -> tuple[str, ...]:
    """The kinds of data sets in the order in which "auto" tries them, and "auto" itself."""
    return (*sorted(LAYOUTS, key=lambda kind: (LAYOUTS[kind].rank, kind)), AUTO)


def detect(root: Path) -> str:
    """The kind of the data set at `root`; raises DataError where there is none."""
    kind = next((kind for kind in kinds()[:-1] if LAYOUTS[kind].is_at(root)), None)
    if kind is None:
        what = "is neither a folder nor a table of songs" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}: give a folder of songs, or their table (.csv, .json).")
    return kind


def assign(songs: Iterable[Song], official: Collection[str] = ()) -> list[Song]:
    """Give every song its final split, so that no song both trains and validates.

    Training songs with a name in `official`, or one that differs in spaces and the like, validate, as do the songs of a
    valid folder. Where that leaves no song to validate with, the first of every eight training songs by name does, as
    long as there are two or more.
    """
    keys = {key(name) for name in official}
    songs = [
        replace(song, split="valid") if song.split == "train" and key(song.name) in keys else song for song in songs
    ]
    if valid := {song.name for song in songs if song.split == "valid"}:
        return [song for song in songs if song.split != "train" or song.name not in valid]
    train = sorted(song.name for song in songs if song.split == "train")
    valid = set(train[::ONE_IN]) if len(train) > 1 else set()
    return [replace(song, split="valid") if song.split == "train" and song.name in valid else song for song in songs]


def collect(candidates: Iterable[tuple[str, Split, Callable[[], Song | None]]]) -> list[Song]:
    """Songs of (name, split, finder); a finder's UserError gives a song with that fault, its None no song."""
    songs = []
    for name, split, find in candidates:
        try:
            song = find()
        except UserError as error:
            song = Song(name, split, fault=error)
        if song is not None:
            songs.append(song)
    return songs


def summed(sources: Sequence[Source]) -> Source:
    """Sum of several sources as one."""
    return replace(sources[0], more=tuple(sources[1:]))


def check_files(folder: Path, stems: Mapping[str, Sequence[Source]]) -> None:
    """Raise DataError where the song in `folder` has no stems, or lacks one of their files."""
    missing = [source.path for sources in stems.values() for source in sources if not source.path.is_file()]
    if missing or not stems:
        what = f"lacks {missing[0].relative_to(folder)}" if missing else "has no stems"
        raise DataError(f"The song {folder} {what}: fetch it again, or move the folder away.")


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the JSON or YAML file that describes a song; raises DataError where that is impossible."""
    form = path.suffix[1:].upper()
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if form == "JSON" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read as {form} ({reason}): fetch it again, or move the song's folder away."
        ) from None
    return values if isinstance(values, dict) else {}


def key(name: str) -> str:
    """A song's name without what differs between data sets: spaces, dashes, numbers.

    "055 - Angels In Amplifiers - I'm Alright" of DSD100 is MUSDB18's "Angels In Amplifiers - I'm Alright".
    """
    return re.sub(r"[\W_]", "", re.sub(r"^\d{3} - ", "", name)).casefold()


def entries(folder: Path) -> list[Path]:
    """Files and folders in `folder` by name but hidden ones; none where there is no such folder.

    Raises DataError for a folder that must not be read.
    """
    if not folder.is_dir():
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read ({error.strerror}): allow reading it, or move it away."
        ) from None


def read_sources(roots: Mapping[str, str | Path]) -> list[dict[str, str]]:
    """Rows of the tables of sources in data sets' folders as text by column, with the data set's name under `data_set`.

    Data sets without a table have no rows; a table may have more columns than `COLUMNS`, which are kept.

    Raises:
        DataError: for a table that cannot be read or lacks columns or fields.
    """
    rows = []
    for name, given in roots.items():
        root = Path(given).expanduser()
        path = (root.parent if root.is_file() else root) / TABLE
        if path.is_file():
            rows += [{SET: name, **row} for row in read_table(path)]
    return rows


def without_repeats(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows of tables of sources, each once, under the first of the data sets that have it."""
    kept: dict[tuple, dict[str, str]] = {}
    for row in rows:
        kept.setdefault(tuple(sorted((column, field) for column, field in row.items() if column != SET)), dict(row))
    return list(kept.values())


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a table of sources as text by column.

    Raises:
        DataError: for a table that cannot be read or lacks columns or fields.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): expected a table as UTF-8 text, or none") from None
    lines = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(
            f"{path} is empty: expected a first line with the columns {', '.join(COLUMNS)}, or no such file"
        )
    header = [column.strip() for column in lines[0][1]]
    if missing := [column for column in COLUMNS if column not in header]:
        raise DataError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}: expected a first line "
            f"with {', '.join(COLUMNS)}, separated by tabs"
        )
    if repeated := [column for column in header if [SET, *header].count(column) > 1]:
        raise DataError(
            f"{path} has a column {repeated[0]!r} too many: expected a name of its own for each column, and {SET!r} is "
            "added here"
        )
    for number, fields in lines[1:]:
        if len(fields) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields, expected {len(header)} as in the first line, separated "
                "by tabs; leave a field empty where nothing is known"
            )
    return [dict(zip(header, map(str.strip, fields), strict=True)) for _, fields in lines[1:]]
