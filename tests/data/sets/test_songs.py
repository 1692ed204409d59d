from __future__ import annotations

from pathlib import Path

from tfswa_unet.data.sets.layouts import Song, assign
from tfswa_unet.types import Source


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
