from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.data import load_tracks
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.errors import AudioError, ConfigError, DataError

FOUR = ["vocals", "drums", "bass", "other"]


def test_a_missing_root_says_what_belongs_there_and_the_two_ways_on(tmp_path):
    root = tmp_path / "nowhere"
    for kind, expected in (("musdb18hq", r"train\|test/<song>/\{vocals,drums"), ("musdb18", r"<song>\.stem\.mp4")):
        with pytest.raises(DataError, match=rf"{root} does not exist, expected .*{expected}.*") as caught:
            load_tracks(kind, root, "train")
        assert "set data.root=/path/to/musdb18hq" in str(caught.value)
        assert "data=synthetic" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        load_tracks("auto", tmp_path / "file")


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"No songs found under .*expected train.*or.*data=synthetic"):
        load_tracks("auto", tmp_path)


def test_the_folder_above_the_data_set_is_recognised(tmp_path, write_song):
    write_song(tmp_path / "musdb18hq" / "train" / "a")
    with pytest.raises(DataError, match=r"did you mean .*/musdb18hq\?"):
        load_tracks("musdb18hq", tmp_path)


def test_a_split_without_songs_is_refused_with_what_there_is(tmp_path, write_song):
    for name in "abc":
        write_song(tmp_path / name, ["guitar"])
    with pytest.raises(DataError, match=r"no songs to test with \(train 2, valid 1, test 0\): put some into .*/test"):
        load_tracks("folders", tmp_path, "test")


def test_unknown_kinds_and_splits_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data.kind 'musdb18-hq' .did you mean musdb18hq"):
        load_tracks("musdb18-hq", tmp_path)
    with pytest.raises(ConfigError, match="split 'validation'"):
        load_tracks("auto", tmp_path, "validation")


def test_stems_of_different_length_are_named_with_their_lengths(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "train" / "My Song", FOUR)
    write_wav(folder / "bass.wav", np.zeros((2, 399)))
    message = (
        r"The stems of track 'My Song' \(.*My Song\) differ in length: vocals 400, drums 400, bass 399, other 400 "
        r"samples; cut or pad them to one length or remove the track\."
    )
    with pytest.raises(DataError, match=message):
        load_tracks("musdb18hq", tmp_path)


def test_stems_of_different_rate_are_named_with_their_rates(tmp_path, write_song, write_wav):
    write_song(tmp_path / "a", ["guitar"], rate=8_000)
    write_wav(tmp_path / "a" / "flute.wav", np.zeros((2, 400)), 9_000)
    with pytest.raises(DataError, match=r"differ in rate: flute 9000, guitar 8000 Hz; resample them to one rate"):
        load_tracks("folders", tmp_path)


def test_a_mixture_of_another_length_is_refused_too(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "a", ["guitar"])
    write_wav(folder / "mixture.wav", np.zeros((2, 500)))
    with pytest.raises(DataError, match="guitar 400, mixture 500 samples"):
        load_tracks("folders", tmp_path)


def test_stems_may_differ_in_channels(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "a", ["guitar"], channels=2)
    write_wav(folder / "flute.wav", np.zeros((1, 400)))
    assert load_tracks("folders", tmp_path)[0].length == 400


def test_an_unreadable_file_is_named(tmp_path, write_song):
    folder = write_song(tmp_path / "a", ["guitar"])
    (folder / "flute.wav").write_bytes(b"no audio at all")
    with pytest.raises(AudioError, match=r"flute\.wav"):
        load_tracks("folders", tmp_path)


def test_files_without_samples_are_refused(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar"], length=0)
    with pytest.raises(AudioError, match=r"guitar\.wav: holds 0 samples"):
        load_tracks("folders", tmp_path)


def test_only_the_asked_split_is_opened(tmp_path, write_song):
    write_song(tmp_path / "train" / "a", ["guitar"])
    write_song(tmp_path / "test" / "b", ["guitar"])
    (tmp_path / "test" / "b" / "guitar.wav").write_bytes(b"broken")
    assert [track.name for track in load_tracks("folders", tmp_path, "train")] == ["a"]


def test_auto_tells_the_layouts_apart(tmp_path, write_song):
    write_song(tmp_path / "hq" / "train" / "a", FOUR)
    write_song(tmp_path / "hq" / "train" / "b", FOUR[:3])
    write_song(tmp_path / "flat" / "a", FOUR)
    write_song(tmp_path / "other" / "train" / "a", [*FOUR, "guitar"])
    write_song(tmp_path / "flac" / "train" / "a", [f"{stem}.flac" for stem in FOUR])
    (tmp_path / "mp4" / "test").mkdir(parents=True)
    (tmp_path / "mp4" / "test" / "a.stem.mp4").write_bytes(b"")
    found = {path.name: detect(path) for path in tmp_path.iterdir()}
    assert found == {"hq": "musdb18hq", "flat": "folders", "other": "folders", "flac": "folders", "mp4": "musdb18"}


def test_every_file_is_opened_once_and_with_a_warm_cache_only_what_is_new(tmp_path, write_song, write_wav, monkeypatch):
    template = write_song(tmp_path / "template", FOUR, length=10)
    for number in range(200):
        shutil.copytree(template, tmp_path / "songs" / "train" / f"{number:03d}")
    original, opened = audio.probe, []
    monkeypatch.setattr(audio, "probe", lambda path, stream: opened.append(path) or original(path, stream))

    def index():
        opened.clear()
        cache = PcmCache(tmp_path / "cache", 8_000, 2)
        tracks = load_tracks("musdb18hq", tmp_path / "songs", probe=cache.probe)
        cache.build(tracks, workers=1)
        return tracks

    first = index()
    assert (len(first), len(opened), len(set(opened))) == (200, 800, 800)
    assert index() == first
    assert opened == []
    new = write_wav(tmp_path / "songs" / "train" / "007" / "bass.wav", np.ones((2, 10)))
    index()
    assert opened == [new]
