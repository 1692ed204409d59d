import pytest

from tfswa_unet.data import StemPlan, load_tracks
from tfswa_unet.data.reading import StemReader
from tfswa_unet.errors import DataError


def test_every_audio_file_is_a_song_without_stems(tmp_path, write_song):
    write_song(tmp_path / "album", ["one", "two.flac"])
    write_song(tmp_path, ["three"])
    (tmp_path / "album" / "notes.txt").write_text("songs")
    (tmp_path / "album" / "._one.wav").write_bytes(b"")
    tracks = load_tracks("unlabelled", tmp_path)
    assert sorted(track.name for track in tracks) == ["album/one", "album/two", "three"]
    assert all(not track.sources and track.mixture.path.is_file() for track in tracks)
    assert {track.length for track in tracks} == {400}


def test_split_folders_are_splits_and_like_named_files_are_two_songs(tmp_path, write_song):
    write_song(tmp_path / "train", ["a.wav", "a.flac"])
    write_song(tmp_path / "valid", ["a"])
    tracks = load_tracks("unlabelled", tmp_path)
    # A song that validates does not train.
    assert [(track.name, track.split) for track in tracks] == [("a.wav", "train"), ("a", "valid")]


def test_stems_cannot_be_learned_from_them(tmp_path, write_song):
    write_song(tmp_path, ["a"])
    tracks = load_tracks("unlabelled", tmp_path)
    with pytest.raises(
        DataError, match=r"The track 'a' and its like have no stems, .* by teacher=MODEL or task=pretrain\."
    ):
        StemReader(tracks, StemPlan.from_config({"vocals": ["vocals"]}), 8_000, 2)
