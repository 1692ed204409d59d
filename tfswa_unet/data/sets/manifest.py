"""Tables of songs, in CSV or JSON: files that lie anywhere, and stretches of files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from tfswa_unet import audio
from tfswa_unet.data.sets.layouts import Song, collect, data_set, summed
from tfswa_unet.errors import AudioError, DataError, did_you_mean
from tfswa_unet.types import MIXTURE, SPLITS, Source, Split

COLUMNS = ("track", "stem", "path", "split", "start", "duration", "stream")
NEEDED = COLUMNS[:3]
TABLES = (".csv", ".json")
Row = tuple[str, Mapping[str, str]]  # the file and line, or entry, for messages; texts by column


def is_manifest(root: Path) -> bool:
    """Whether `root` is a table of songs."""
    return root.is_file() and root.suffix.lower() in TABLES


@data_set("manifest", "a table, songs.csv or .json", is_manifest, rank=0)
def list_manifest(path: Path) -> list[Song]:
    """List the songs of a table with the columns track, stem, path and, where wanted, split, start, duration, stream.

    CSV with a line of column names, or a JSON list of objects. Paths count from the table's folder, start and duration
    are in s; several rows for one stem of a track are summed; the stem "mixture" is the mixed song. A split is train
    (also where it is empty), valid or test. A row that cannot be used makes its track carry the fault, with the line.

    Raises:
        DataError: the table cannot be read, lacks a column that is needed or has one that is unknown.
    """
    tracks: dict[str, list[Row]] = {}
    for where, values in _values(path):
        tracks.setdefault(values["track"], []).append((where, values))
    return collect(
        (name, _split_or_train(rows[0][1]), partial(_song, name, rows, path.parent)) for name, rows in tracks.items()
    )


def _song(name: str, rows: Sequence[Row], folder: Path) -> Song | None:
    splits = [_split(where, values) for where, values in rows]
    for (where, _), split in zip(rows, splits, strict=True):
        if split != splits[0]:
            raise DataError(
                f"{where}: the track {name!r} is in the split {split!r} here and in {splits[0]!r} above: give all its "
                "rows one split."
            )
    stems: dict[str, list[Source]] = {}
    for where, values in rows:
        stems.setdefault(values["stem"], []).append(_source(where, values, folder))
    sources = {stem: summed(parts) for stem, parts in stems.items()}
    mixture = sources.pop(MIXTURE, None)
    return Song(name, splits[0], sources, mixture) if sources else None


def _source(where: str, values: Mapping[str, str], folder: Path) -> Source:
    for column in NEEDED:
        if not values.get(column):
            raise DataError(f"{where}: {column} is empty: give it a value, or remove the row.")
    path = folder / values["path"]
    if not path.is_file():
        raise DataError(f"{where}: there is no file {path}: correct the path, or remove the row.")
    seconds, duration = _number(where, "start", values) or 0.0, _number(where, "duration", values)
    stream = int(_number(where, "stream", values) or 0)
    if seconds == 0 and duration is None:
        return Source(path, stream)
    try:
        info = audio.probe(path, stream)
    except AudioError as error:
        raise AudioError(f"{where}: {error}") from None
    start = round(seconds * info.rate)
    length = info.length - start if duration is None else round(duration * info.rate)
    if length < 1 or start + length > info.length:
        end = "its end" if duration is None else f"{seconds + duration:g} s"
        raise DataError(
            f"{where}: {seconds:g} s to {end} of {path} is asked for, which lasts {info.seconds:g} s: choose an "
            "earlier start or a shorter duration."
        )
    return Source(path, stream, start, length)


def _split(where: str, values: Mapping[str, str]) -> Split:
    split = values.get("split") or "train"
    if split not in SPLITS:
        raise DataError(
            f"{where}: the split is {split!r}{did_you_mean(split, SPLITS)}, expected one of {', '.join(SPLITS)}."
        )
    return split


def _number(where: str, column: str, values: Mapping[str, str]) -> float | None:
    text = values.get(column)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise DataError(f"{where}: {column} is {text!r}, expected a number from 0 on.")
    return number


def _values(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): save it as CSV or JSON in UTF-8.") from None
    for where, row in rows:
        for column in row:
            if column not in COLUMNS:
                hint = did_you_mean(column, COLUMNS)
                raise DataError(f"{where}: unknown column {column!r}{hint}, expected {', '.join(COLUMNS)}.")
        if missing := [column for column in NEEDED if column not in row]:
            raise DataError(f"{where}: the column {missing[0]} is missing, expected at least {', '.join(NEEDED)}.")
        yield where, row


def _from_csv(path: Path, text: str) -> list[Row]:
    reader = csv.DictReader(
        io.StringIO(text, newline=""), skipinitialspace=True, restkey="what follows the last column"
    )
    return [
        (f"{path}, line {reader.line_num}", {column: str(value or "").strip() for column, value in row.items()})
        for row in reader
    ]


def _from_json(path: Path, text: str) -> list[Row]:
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of objects")
    return [
        (f"{path}, entry {number}", {column: "" if value is None else str(value) for column, value in row.items()})
        for number, row in enumerate(rows, 1)
    ]


def _split_or_train(values: Mapping[str, str]) -> Split:
    split = values.get("split")
    return cast(Split, split) if split in SPLITS else "train"
