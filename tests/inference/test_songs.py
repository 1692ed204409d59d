from __future__ import annotations

import pytest

from tfswa_unet.errors import AudioError
from tfswa_unet.inference import find_songs


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_to_the_bottom_in_order(tmp_path):
    touch(
        tmp_path,
        "b.wav",
        "a.MP3",
        "album/b.flac",
        "album/cover.jpg",
        "album/disc 2/c.m4a",
        ".cache/d.wav",
        "album/._e.wav",
    )
    songs = find_songs([tmp_path])
    assert [song.track for song in songs] == ["a", "album/b", "album/disc 2/c", "b"]
    assert all(song.path.is_file() for song in songs)


def test_stems_of_an_earlier_run_are_not_separated_again(tmp_path):
    touch(tmp_path, "a.wav", "stems/a/vocals.wav")
    assert [song.track for song in find_songs([tmp_path], tmp_path / "stems")] == ["a"]


def test_a_song_named_twice_is_found_once_whatever_its_ending(tmp_path):
    touch(tmp_path, "a.wav", "b.dat")
    songs = find_songs([tmp_path / "b.dat", tmp_path / "a.wav", tmp_path])
    assert [song.track for song in songs] == ["b", "a"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"missing\.wav: no such file or folder"):
        find_songs([tmp_path / "missing.wav"])
    with pytest.raises(AudioError, match="holds no audio files: expected endings such as"):
        find_songs([tmp_path])
