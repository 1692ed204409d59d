from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tfswa_unet.config import choice, discover
from tfswa_unet.data import load_tracks, sets
from tfswa_unet.data.sets import layouts
from tfswa_unet.data.sets.layouts import DATA_SETS, Song, assign, detect, kinds
from tfswa_unet.data.tracks import bind_lister, find_songs
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.types import Source


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
        ("musdb18hq", {"grouping": "six"}, "unknown option data.sets.musdb18hq.options.grouping: it takes no options"),
        (
            "moisesdb",
            {"groupin": "six"},
            "unknown option data.sets.moisesdb.options.groupin (did you mean grouping?): it takes grouping, bleed",
        ),
        ("moisesdb", {"bleed": "no"}, "data.sets.moisesdb.options.bleed is 'no', expected true or false"),
        (
            "moisesdb",
            {"grouping": ["six"]},
            "unknown data.sets.moisesdb.options.grouping ['six'] (did you mean six?): expected one of four, six, all",
        ),
        ("medleydb", {"instruments": "kazoo"}, "data.sets.medleydb.options.instruments is 'kazoo', expected a mapping"),
        (
            "medleydb",
            {"instruments": {"kazoo": 3}},
            "data.sets.medleydb.options.instruments.kazoo is 3, expected a text",
        ),
    ],
)
def test_options_that_a_kind_does_not_take_are_refused(tmp_path, kind, options, message):
    with pytest.raises(ConfigError) as refused:
        load_tracks(kind, tmp_path, options=options)
    assert str(refused.value) == message


def test_options_are_called_as_the_configuration_calls_the_data_set(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown option data\.sets\.mine\.options\.six: it takes grouping, bleed"):
        find_songs("moisesdb", tmp_path, {"six": True}, "mine")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("folders", {}),
        ("moisesdb", {"grouping": "six", "bleed": False}),
        ("medleydb", {"instruments": {"kazoo": "other"}}),
    ],
)
def test_options_that_a_kind_takes_pass(tmp_path, kind, options):
    assert bind_lister(kind, options)(tmp_path) == []


def test_options_that_are_left_out_are_as_conf_data_says():
    bound = bind_lister("medleydb", {"bleed": True})
    assert bound.keywords == {**choice("data", "medleydb")["sets"]["medleydb"]["options"], "bleed": True}


@pytest.mark.parametrize("kind", DATA_SETS)
def test_conf_data_gives_every_option_of_every_kind_a_value(kind):
    usual = choice("data", kind)["sets"][kind]
    assert usual["kind"] == kind
    assert list(usual.get("options", {})) == list(DATA_SETS.options(kind))


def test_auto_tries_tables_first_and_folders_last_whatever_the_files_are_called():
    assert kinds()[:6] == ("manifest", "musdb18", "dsd100", "medleydb", "moisesdb", "musdb18hq")
    assert kinds()[6:] == ("folders", "unlabelled", "auto")


NEW_KIND = """
from tfswa_unet.data.sets.layouts import data_set
from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.types import Source

def is_pairs(root):
    return any(root.rglob("*.pair.wav"))

@data_set("pairs", "<song>/<stem>.pair.wav", is_pairs, rank=60)
def list_pairs(root):
    return [Song("one", "train", {"vocals": Source(path)}) for path in root.rglob("*.pair.wav")]
"""


def test_a_new_kind_is_one_new_file(tmp_path, monkeypatch, write_song):
    monkeypatch.setattr(DATA_SETS, "_kinds", dict(DATA_SETS))
    monkeypatch.setitem(layouts.LAYOUTS, "pairs", None)
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path / "code")])
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "pairs.py").write_text(NEW_KIND)
    monkeypatch.delitem(sys.modules, f"{sets.__name__}.pairs", raising=False)
    discover(sets.__name__)
    write_song(tmp_path / "songs" / "one", ["vocals.pair.wav"])
    assert detect(tmp_path / "songs") == "pairs"
    assert [track.name for track in load_tracks("auto", tmp_path / "songs")] == ["one"]
    with pytest.raises(DataError, match=r"nowhere does not exist, expected <song>/<stem>\.pair\.wav"):
        load_tracks("pairs", tmp_path / "nowhere")


def song(name: str, split="train") -> Song:
    return Song(name, split, {"vocals": Source(Path(name))})


def names(songs, split) -> list[str]:
    return [song.name for song in songs if song.split == split]


def test_official_names_validate():
    songs = assign([song("a"), song("b"), song("c", "test")], official={"b", "c"})
    assert (names(songs, "train"), names(songs, "valid"), names(songs, "test")) == (["a"], ["b"], ["c"])


def test_a_valid_folder_is_kept_as_it_is():
    songs = assign([song("a"), song("b"), song("v", "valid")])
    assert (names(songs, "train"), names(songs, "valid")) == (["a", "b"], ["v"])


def test_no_song_both_trains_and_validates():
    songs = assign([song("a"), song("b"), song("b", "valid")])
    assert (names(songs, "train"), names(songs, "valid")) == (["a"], ["b"])


def test_without_either_about_one_in_eight_validates_whatever_the_order():
    some = [song(f"{i:03}") for i in range(40)]
    assert names(assign(some), "valid") == [f"{i:03}" for i in range(0, 40, 8)]
    assert sorted(names(assign(some[::-1]), "valid")) == names(assign(some), "valid")
    assert len(names(assign(some), "train")) == 35


def test_two_songs_give_one_to_validate_and_a_single_one_trains():
    assert names(assign([song("a"), song("b")]), "valid") == ["a"]
    assert names(assign([song("a")]), "train") == ["a"]


def test_test_songs_never_validate():
    assert names(assign([song("a", "test"), song("b", "test")]), "valid") == []
