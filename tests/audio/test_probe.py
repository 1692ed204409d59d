from __future__ import annotations

import dataclasses

import pytest
import soundfile

from tests.audio.sounds import chirp
from tfswa_unet import audio

TAGS = {
    "title": "Nächtliche Fahrt",
    "artist": "Die Probe",
    "album": "Töne",
    "date": "1999",
    "track": "3/12",
    "genre": "Rock",
    "comment": "made up",
}


def test_what_a_wav_holds(tmp_path):
    audio.write(tmp_path / "a.wav", chirp(0.5, channels=3, rate=32000), 32000, "wav24")
    info = audio.probe(str(tmp_path / "a.wav"))
    assert info == audio.AudioInfo(tmp_path / "a.wav", 32000, 3, 16000, 1, "pcm_24", {})
    assert info.seconds == 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.rate = 1


@pytest.mark.parametrize("format", audio.FORMATS)
def test_tags_go_through_every_format(tmp_path, format):
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    audio.write(path, chirp(0.3, rate=48000), 48000, format, {**TAGS, "encoder": "not the song's", "unknown": "x"})
    assert audio.probe(path).tags == TAGS
    audio.write(path, chirp(0.3, rate=48000), 48000, format)
    assert audio.probe(path).tags == {}


@pytest.mark.parametrize("format", ["mp3", "opus", "m4a"])
def test_tags_that_libsndfile_lacks_go_through_the_others(tmp_path, format):
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    tags = {"title": "T", "composer": "C", "album_artist": "A", "disc": "1/2"}
    audio.write(path, chirp(0.3, rate=48000), 48000, format, tags)
    assert audio.probe(path).tags == tags


def test_codecs_by_name(encoded):
    names = {"vbr.mp3": "mp3", "song.m4a": "aac", "lossless.m4a": "alac", "song.opus": "opus", "song.ogg": "vorbis"}
    names |= {"song.flac": "flac", "24.flac": "flac", "16.wav": "pcm_16", "float.wav": "float"}
    assert {name: audio.probe(encoded / name).codec for name in names} == names


def test_wav_is_probed_without_reading_its_samples(tmp_path, monkeypatch):
    audio.write(tmp_path / "a.wav", chirp(0.5), 44100)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert audio.probe(tmp_path / "a.wav").length == 22050
