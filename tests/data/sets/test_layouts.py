from __future__ import annotations

import inspect

import pytest

from tfswa_unet.data import load_tracks
from tfswa_unet.data.sets.layouts import LAYOUTS, check_options, detect
from tfswa_unet.errors import ConfigError, DataError


def test_what_is_no_data_set_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"")
    with pytest.raises(DataError) as refused:
        detect(tmp_path / "song.wav")
    assert str(refused.value) == (
        f"{tmp_path / 'song.wav'} is neither a folder nor a table of songs: give a folder of songs, or their table "
        "(.csv, .json)."
    )
    with pytest.raises(DataError, match=r"gone does not exist: give a folder of songs, or their table"):
        detect(tmp_path / "gone")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("musdb18hq", {"grouping": "six"}, "Data sets of kind musdb18hq take no options, got grouping: leave it out."),
        (
            "moisesdb",
            {"groupin": "six"},
            "unknown option of moisesdb data sets 'groupin' (did you mean grouping?): expected one of grouping, bleed",
        ),
        ("moisesdb", {"bleed": "no"}, "The option bleed of moisesdb data sets is 'no', expected true or false."),
        ("moisesdb", {"grouping": ["six"]}, "The option grouping of moisesdb data sets is ['six'], expected a name."),
        (
            "medleydb",
            {"instruments": "kazoo"},
            "The option instruments of medleydb data sets is 'kazoo', expected a mapping such as {kazoo: other}.",
        ),
    ],
)
def test_options_that_a_kind_does_not_take_are_refused(tmp_path, kind, options, message):
    with pytest.raises(ConfigError) as refused:
        check_options(kind, options)
    assert str(refused.value) == message
    with pytest.raises(ConfigError) as refused:
        load_tracks(kind, tmp_path, options=options)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("folders", {}),
        ("moisesdb", {"grouping": "six", "bleed": False}),
        ("medleydb", {"instruments": {"kazoo": "other"}}),
    ],
)
def test_options_that_a_kind_takes_pass(tmp_path, kind, options):
    check_options(kind, options)
    assert LAYOUTS[kind].list_songs(tmp_path, **options) == []


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_names_all_options_of_its_lister(layout):
    assert list(inspect.signature(layout.list_songs).parameters)[1:] == list(layout.options)
