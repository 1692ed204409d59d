from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import noise
from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data import StemPlan, load_tracks
from tfswa_unet.data.reading import StemReader, read_source
from tfswa_unet.data.sets.folders import list_folders
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
    names = ["guitar.flac", "flute.wav", "harp.au", "oboe.ogg"]
    write_song(tmp_path / "a", names)
    [track] = load_tracks("folders", tmp_path)
    assert sorted(source.path.name for source in track.sources.values()) == sorted(names)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_ending_that_the_decoder_opens_is_a_stem(tmp_path, suffix):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"guitar{suffix.upper()}").touch()
    assert [list(song.sources) for song in list_folders(tmp_path)] == [["guitar"]]


def test_two_files_for_one_stem_are_refused(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar.flac", "guitar.wav"])
    with pytest.raises(DataError, match=r"two files for the stem 'guitar', guitar.flac and guitar.wav: remove one"):
        load_tracks("folders", tmp_path)


def test_a_folder_in_a_song_is_a_stem_of_parts(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "a", ["vocals", "drums_1"])
    kick, snare = (write_wav(folder / "drums" / f"{name}.wav", noise(k, 2, 400)) for k, name in enumerate(("k", "s")))
    (folder / "drums" / "notes.txt").write_text("close microphones")
    (folder / "artwork").mkdir()
    [track] = load_tracks("folders", tmp_path)
    assert list(track.sources) == ["drums", "drums_1", "vocals"]
    assert [part.path for part in track.sources["drums"].parts] == [kick, snare]
    np.testing.assert_allclose(
        read_source(track.sources["drums"], 100, 50), (noise(0, 2, 400) + noise(1, 2, 400))[:, 100:150], atol=1e-7
    )
    reader = StemReader([track], StemPlan.from_config({"drums": "drums"}), 8_000, 1)
    crop = np.zeros((1, 50), np.float32)
    reader.fill(crop, 0, 0, 100)
    np.testing.assert_allclose(crop, read_source(track.sources["drums"], 100, 50).mean(0, keepdims=True), atol=1e-7)


def test_a_file_and_a_folder_for_one_stem_are_refused(tmp_path, write_song):
    write_song(write_song(tmp_path / "a", ["drums"]) / "drums", ["kick"])
    with pytest.raises(DataError, match=r"two files for the stem 'drums', drums and drums\.wav"):
        load_tracks("folders", tmp_path)


def test_a_part_of_another_length_is_named(tmp_path, write_song):
    write_song(write_song(tmp_path / "a", ["vocals"]) / "drums", ["kick"], length=397)
    write_song(tmp_path / "a" / "drums", ["snare"])
    with pytest.raises(DataError, match=r"differ in length: drums/kick\.wav 397, drums/snare\.wav 400, vocals 400"):
        load_tracks("folders", tmp_path)
