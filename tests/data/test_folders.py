from __future__ import annotations

import pytest

from tfswa_unet.data import load_tracks
from tfswa_unet.data.folders import list_folders
from tfswa_unet.errors import DataError


def test_split_folders_and_any_stem_names(tmp_path, write_song):
    write_song(tmp_path / "train" / "b", ["guitar", "flute", "mixture"])
    write_song(tmp_path / "train" / "a", ["guitar"])
    write_song(tmp_path / "valid" / "v", ["guitar"])
    write_song(tmp_path / "test" / "t", ["flute"])
    tracks = load_tracks("folders", tmp_path)
    assert [(track.name, track.split) for track in tracks] == [
        ("a", "train"),
        ("b", "train"),
        ("v", "valid"),
        ("t", "test"),
    ]
    assert list(tracks[1].sources) == ["flute", "guitar"]
    assert tracks[1].mixture.path == tmp_path / "train" / "b" / "mixture.wav"
    assert (tracks[1].rate, tracks[1].length) == (8_000, 400)


def test_songs_without_split_folders_train_and_one_in_eight_validates(tmp_path, write_song):
    for i in range(9):
        write_song(tmp_path / f"song {i}", ["guitar"])
    assert [track.name for track in load_tracks("folders", tmp_path, "valid")] == ["song 0", "song 8"]
    assert len(load_tracks("folders", tmp_path, "train")) == 7


def test_musdbs_validation_names_mean_nothing_here(tmp_path, write_song):
    for name in ("ANiMAL - Rockshow", "AAA"):
        write_song(tmp_path / name, ["guitar"])
    assert [track.name for track in load_tracks("folders", tmp_path, "valid")] == ["AAA"]


def test_other_files_and_folders_without_stems_are_passed_over(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar"])
    (tmp_path / "a" / "notes.txt").write_text("a song")
    (tmp_path / "a" / "._guitar.wav").write_bytes(b"")
    (tmp_path / "readme.md").write_text("songs")
    (tmp_path / "artwork").mkdir()
    assert [list(song.sources) for song in list_folders(tmp_path)] == [["guitar"]]


def test_other_formats_are_read(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar.flac", "flute.wav"])
    assert {s.path.suffix for s in load_tracks("folders", tmp_path)[0].sources.values()} == {".flac", ".wav"}


def test_two_files_for_one_stem_are_refused(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar.flac", "guitar.wav"])
    with pytest.raises(DataError, match=r"two files for the stem 'guitar', guitar.flac and guitar.wav: remove one"):
        load_tracks("folders", tmp_path)
