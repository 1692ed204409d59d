"""Tables of the sources of data sets."""

import pytest

from tfswa_unet.data.sets.layouts import COLUMNS, read_sources
from tfswa_unet.errors import DataError

HEADER = "\t".join(COLUMNS)
ROW = "eif\tan album\tc929\tCC0-1.0\tdrums\t503.4\t52"
FIELDS = dict(zip(COLUMNS, ROW.split("\t"), strict=True))


def read(path, content):
    (path / "SOURCES.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_sources({"mine": str(path)})


def test_rows_are_text_under_the_name_of_their_data_set(tmp_path):
    for name in ("a", "b", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "SOURCES.tsv").write_text(f"{HEADER}\n{ROW}\n")
    (tmp_path / "b" / "SOURCES.tsv").write_text(f"{HEADER}\n{ROW}\n")
    (tmp_path / "b" / "songs.csv").write_text("track,stem,path\n")
    sets = {name: str(tmp_path / name) for name in ("a", "none", "not there")}
    sets["b"] = str(tmp_path / "b" / "songs.csv")  # beside its table of songs
    assert read_sources(sets) == [{"data_set": "a", **FIELDS}, {"data_set": "b", **FIELDS}]


def test_songs_yet_to_be_made_have_no_table_of_the_folder_above(tmp_path):
    (tmp_path / "SOURCES.tsv").write_text(f"{HEADER}\n{ROW}\n")
    assert read_sources({"made": str(tmp_path / "songs")}) == []


@pytest.mark.parametrize("content", [f"\ufeff{HEADER}\r\n{ROW}\r\n\r\n", f"{HEADER}\n\n{ROW}"], ids=["windows", "bare"])
def test_line_ends_and_empty_lines_change_nothing(tmp_path, content):
    assert read(tmp_path, content) == [{"data_set": "mine", **FIELDS}]


def test_further_columns_and_empty_fields_are_kept(tmp_path):
    row = ROW.replace("c929", "")
    assert read(tmp_path, f"{HEADER}\tbytes\n{row}\t\n") == [{"data_set": "mine", **FIELDS, "version": "", "bytes": ""}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: expected a first line with the columns folder, source, version, licence, stem, seconds, files"),
        (HEADER.replace("licence", "license"), "lacks the column licence: expected a first line with folder, source,"),
        (HEADER.replace("\t", ","), "lacks the columns folder, source, .*, separated by tabs"),
        (f"{HEADER}\tstem\n", "has a column 'stem' too many: expected a name of its own"),
        (f"{HEADER}\tdata_set\n", "has a column 'data_set' too many"),
        (f"{HEADER}\n{ROW}\n{ROW}\tmore\n", "line 3: 8 fields, expected 7"),
        (b"\xff\xfe\x00", r"cannot be read \(.*\): expected a table as UTF-8 text"),
    ],
)
def test_what_is_no_table_of_sources_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"SOURCES\.tsv.*{message}") as refused:
        read(tmp_path, content)
    assert "\n" not in str(refused.value)
