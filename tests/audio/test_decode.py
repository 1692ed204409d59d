from __future__ import annotations

import builtins

import numpy as np
import pytest
import soundfile

from tests.audio.sounds import chirp, ffmpeg
from tfswa_unet import audio
from tfswa_unet.errors import AudioError

NO_AUDIO = "is not an audio file, or is too damaged to tell"


def refusals(path):
    """What probe, read and blocks say of a file; they say the same."""
    said = []
    for attempt in (audio.probe, audio.read, lambda path: next(audio.blocks(path, 100))):
        with pytest.raises(AudioError) as caught:
            attempt(path)
        said.append(str(caught.value))
    assert len(set(said)) == 1
    return said[0]


def test_a_missing_file_and_a_folder(tmp_path):
    assert f"{tmp_path / 'none.wav'}: no such file: check the path" in refusals(tmp_path / "none.wav")
    assert "is a folder where an audio file is expected" in refusals(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty (0 bytes)"),
        (b"Lorem ipsum dolor sit amet\n" * 40, NO_AUDIO),
        (bytes(20000), NO_AUDIO),
        (b"RIFF", NO_AUDIO),
        (b"#EXTM3U\n#EXTINF:9,\nhttp://localhost:9/song.mp3\n", NO_AUDIO),
        (b"ffconcat version 1.0\nfile 'other.wav'\n", NO_AUDIO),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_what_is_no_audio(tmp_path, name, content, message):
    audio.write(tmp_path / "other.wav", chirp(0.1), 44100)
    (tmp_path / name).write_bytes(content)
    assert message in refusals(tmp_path / name)


def test_a_wav_of_no_samples(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 44100)
    assert "holds 0 samples where audio is expected" in refusals(tmp_path / "none.wav")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    audio.write(tmp_path / "a.wav", chirp(0.1), 44100)

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", deny)
    with pytest.raises(AudioError, match="may not be read: change its permissions"):
        audio.probe(tmp_path / "a.wav")


def test_a_video_without_audio_and_one_with(tmp_path, encoded):
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-c:v", "mpeg4", tmp_path / "mute.mp4")
    assert "holds video but no audio" in refusals(tmp_path / "mute.mp4")
    ffmpeg("-i", tmp_path / "mute.mp4", "-i", encoded / "song.m4a", "-c", "copy", tmp_path / "film.mp4")
    film, song = audio.read(tmp_path / "film.mp4"), audio.read(encoded / "song.m4a")
    # A copied mp4 states its end in whole milliseconds.
    assert abs(film.shape[1] - song.shape[1]) <= 45
    np.testing.assert_array_equal(film[:, :176_000], song[:, :176_000])


def test_a_stream_that_does_not_exist(encoded):
    for name in ("16.wav", "vbr.mp3"):
        with pytest.raises(AudioError, match="has 1 audio stream, so stream 1 does not exist"):
            audio.probe(encoded / name, 1)
        with pytest.raises(AudioError, match="counted from 0"):
            audio.read(encoded / name, stream=-1)


@pytest.mark.parametrize(
    "name", ["16.wav", "float.wav", "song.aiff", "song.flac", "vbr.mp3", "cbr.mp3", "fast_start.m4a", "song.mka"]
)
def test_a_file_cut_in_half_says_how_much_was_decoded(tmp_path, encoded, name):
    content = (encoded / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    for attempt in (audio.probe, audio.read, lambda path: list(audio.blocks(path, 1000))):
        with pytest.raises(AudioError, match=r"decoded [12]\.\d\d s of 4\.\d\d s announced: the file is cut short"):
            attempt(tmp_path / name)


def test_half_an_m4a_without_its_index_is_no_audio(tmp_path, encoded):
    content = (encoded / "song.m4a").read_bytes()
    (tmp_path / "half.m4a").write_bytes(content[: len(content) // 2])
    assert NO_AUDIO in refusals(tmp_path / "half.m4a")


@pytest.mark.parametrize("name", ["uncounted.mp3", "song.ogg", "song.opus", "bare.aac"])
def test_formats_that_announce_no_length_are_read_as_far_as_they_go(tmp_path, encoded, name):
    content = (encoded / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 3 // 4])
    info = audio.probe(tmp_path / name)
    assert 0.4 < info.length / audio.probe(encoded / name).length < 0.9
    assert audio.read(tmp_path / name).shape[1] == info.length


def test_a_header_that_could_not_be_filled_in_is_no_damage(tmp_path, encoded):
    content = bytearray((encoded / "16.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(content)
    np.testing.assert_array_equal(audio.read(tmp_path / "piped.wav"), audio.read(encoded / "16.wav"))


def test_damage_in_the_middle(tmp_path, encoded):
    content = bytearray((encoded / "song.m4a").read_bytes())
    whole = audio.read(encoded / "song.m4a")
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    (tmp_path / "scratch.m4a").write_bytes(content)
    scratched = audio.read(tmp_path / "scratch.m4a")
    assert scratched.shape == whole.shape
    assert np.abs(scratched - whole).max() > 0.1
    np.testing.assert_allclose(scratched[:, -44100:], whole[:, -44100:], atol=1e-6)
    content[middle : middle + len(content) // 5] = b"\xff" * (len(content) // 5)
    (tmp_path / "broken.m4a").write_bytes(content)
    with pytest.raises(AudioError, match=r"0\.\d\d s cannot be decoded, the last of it at \d\.\d\d s: the file is dam"):
        audio.read(tmp_path / "broken.m4a")


def test_a_damaged_flac_says_how_far_it_goes(tmp_path, encoded):
    content = bytearray((encoded / "song.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = b"\xff" * 300
    (tmp_path / "broken.flac").write_bytes(content)
    with pytest.raises(AudioError, match=r"decoded [12]\.\d\d s of 4\.00 s announced"):
        audio.read(tmp_path / "broken.flac")
