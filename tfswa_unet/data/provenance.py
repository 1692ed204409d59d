"""Where the sound of data sets comes from, and under which licence: the table SOURCES.tsv in a data set's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfswa_unet.data.tracks import DataSet
from tfswa_unet.errors import DataError

TABLE = "SOURCES.tsv"
COLUMNS = ("folder", "source", "version", "licence", "stem", "seconds", "files")
SET = "data_set"  # added to a row: the name of its data set


def read_sources(sets: Mapping[str, DataSet]) -> list[dict[str, str]]:
    """Rows of the data sets' tables of sources as text by column, with the data set's name under `data_set`.

    Data sets without a table have no rows; a table may have more columns than `COLUMNS`, which are kept.

    Raises:
        DataError: for a table that cannot be read or lacks columns or fields.
    """
    rows = []
    for name, each in sets.items():
        root = Path(each.root).expanduser()
        path = (root.parent if root.is_file() else root) / TABLE
        if path.is_file():
            rows += [{SET: name, **row} for row in read_table(path)]
    return rows


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
