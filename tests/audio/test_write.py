from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.audio.sounds import chirp, ffmpeg, ffmpeg_decode, png
from tfswa_unet import audio
from tfswa_unet.errors import AudioError

LOSSY = {"mp3": 44100, "ogg": 44100, "opus": 48000, "m4a": 44100}


def test_the_names_and_extensions():
    extensions = {name: each.extension for name, each in audio.FORMATS.items()}
    assert extensions == {
        "wav16": ".wav",
        "wav24": ".wav",
        "wav32f": ".wav",
        "flac16": ".flac",
        "flac24": ".flac",
        "mp3": ".mp3",
        "ogg": ".ogg",
        "opus": ".opus",
        "m4a": ".m4a",
    }
    assert [name for name, each in audio.FORMATS.items() if not each.lossless] == ["mp3", "ogg", "opus", "m4a"]


@pytest.mark.parametrize(
    ("format", "rate", "channels", "message"),
    [
        ("wma", 44100, 2, "'wma' is unknown: choose one of wav16, wav24, wav32f, flac16, flac24, mp3, ogg, opus, m4a"),
        ("opus", 44100, 2, "opus cannot hold 44100 Hz, only 8000, 12000, 16000, 24000, 48000 Hz: resample to one"),
        ("mp3", 96000, 2, "mp3 cannot hold 96000 Hz, only"),
        ("ogg", 4000, 2, "ogg cannot hold 4000 Hz, only 8000 to 192000 Hz"),
        ("flac24", 1_000_000, 2, "flac24 cannot hold 1000000 Hz"),
        ("mp3", 44100, 6, "mp3 holds 1 to 2 channels, not 6: choose wav32f or write fewer channels"),
        ("flac16", 44100, 9, "flac16 holds 1 to 8 channels, not 9"),
        ("wav16", 44100, 0, "not 0"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, format, rate, channels, message):
    with pytest.raises(AudioError, match=re.escape(message)):
        audio.check_format(format, rate, channels)
    with pytest.raises(AudioError, match=re.escape(message)):
        audio.Writer(tmp_path / "a", rate, channels, format)
    assert not list(tmp_path.iterdir())


def test_what_is_allowed_can_be_written(tmp_path):
    for name, each in audio.FORMATS.items():
        rates = each.rates if isinstance(each.rates, tuple) else (8000, 22050, 96000, 192000)
        for rate in rates:
            most = min(each.most_channels, 8)
            for channels in (1, most):
                assert audio.check_format(name, rate, channels) is each
                path = tmp_path / f"{name}{rate}{each.extension}"
                audio.write(path, np.full((channels, 4000), 0.25, np.float32), rate, name)
                info = audio.probe(path)
                # Opus is always decoded at 48 kHz (RFC 7845, section 5.1).
                expected = 48000 if name == "opus" else rate
                assert (info.rate, info.channels, info.length) == (expected, channels, 4000 * expected // rate)


@pytest.mark.parametrize(
    ("format", "step"), [("wav16", 2**-15), ("wav24", 2**-23), ("flac16", 2**-15), ("flac24", 2**-23)]
)
def test_integers_come_back_within_half_a_step(tmp_path, format, step):
    sound = np.random.default_rng(1).uniform(-1, 1 - step, (2, 50_001)).astype(np.float32)
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    audio.write(path, sound, 44100, format)
    read, rate = soundfile.read(path, dtype="float64")
    assert rate == 44100
    assert read.T.shape == sound.shape
    assert np.abs(read.T - sound).max() <= step / 2
    np.testing.assert_array_equal(audio.read(path), read.T.astype(np.float32))


def test_integers_on_the_grid_come_back_exactly(tmp_path):
    grid = (np.arange(-(2**15), 2**15) / 2**15).astype(np.float32)[np.newaxis]
    for format in ("wav16", "flac16", "wav24", "flac24", "wav32f"):
        path = tmp_path / f"a{audio.FORMATS[format].extension}"
        audio.write(path, grid, 44100, format)
        np.testing.assert_array_equal(audio.read(path), grid)


@pytest.mark.parametrize("format", LOSSY)
@pytest.mark.parametrize("length", [5000, 88_207])
def test_lossy_formats_keep_length_and_place(tmp_path, format, length):
    rate = LOSSY[format]
    sound = chirp(2.5)[:, :length]
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    with audio.Writer(path, rate, 2, format) as writer:
        for start in range(0, length, 1000):
            writer.write(sound[:, start : start + 1000])
    assert writer.written == length
    read = audio.read(path)
    assert audio.probe(path).length == length
    assert read.shape == sound.shape
    similarity = np.correlate(read[0], sound[0, 300:-300])
    assert np.argmax(similarity) == 300
    assert np.corrcoef(read[1], sound[1])[0, 1] > 0.9
    assert 0 <= ffmpeg_decode(path, 2).shape[1] - length < 1024


@pytest.mark.parametrize("format", LOSSY)
@pytest.mark.parametrize("length", [100, 1024, 1152])
def test_lossy_formats_keep_lengths_below_a_frame(tmp_path, format, length):
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    audio.write(path, chirp(1.0)[:, :length], LOSSY[format], format)
    assert audio.probe(path).length == audio.read(path).shape[1] == length


@pytest.mark.parametrize("format", ["wav16", "flac24"])
def test_what_integers_cut_is_counted(tmp_path, format):
    sound = np.zeros((2, 1000), np.float32)
    sound[0, :3], sound[1, 10] = 1.5, -1.01
    sound[1, 20:22] = 1.0, -1.0
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    with audio.Writer(path, 44100, 2, format) as writer:
        writer.write(sound[:, :500])
        assert writer.clipped == 4
        writer.write(sound[:, 500:])
    assert writer.clipped == 4
    np.testing.assert_allclose(audio.read(path), np.clip(sound, -1, 1), atol=2**-15)
    with audio.Writer(tmp_path / "b.wav", 44100, 2) as writer:
        writer.write(sound)
    assert writer.clipped == 0
    np.testing.assert_array_equal(audio.read(tmp_path / "b.wav"), sound)


def write_and_interrupt(path, format):
    before = path.read_bytes()
    with audio.Writer(path, 48000, 2, format) as writer:
        writer.write(chirp(0.2, rate=48000))
        assert path.read_bytes() == before
        raise KeyboardInterrupt


@pytest.mark.parametrize("format", audio.FORMATS)
def test_an_exception_leaves_nothing_and_the_old_file_whole(tmp_path, format):
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(path, format)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"
    audio.write(path, chirp(0.2, rate=48000), 48000, format)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert audio.probe(path).length == 9600


def test_samples_that_are_no_numbers_are_not_written(tmp_path):
    sound = chirp(0.5)
    sound[0, 4410] = np.nan
    with pytest.raises(AudioError, match=r"a\.wav: 1 sample is NaN or infinite, the first at 0\.100 s"):
        audio.write(tmp_path / "a.wav", sound, 44100)
    assert not list(tmp_path.iterdir())


def test_shapes_and_emptiness_are_refused(tmp_path):
    stereo = np.zeros((2, 10), np.float32)
    message = r"shape \(2, 10\) was given, \(1, t\) is expected"
    with pytest.raises(AudioError, match=message), audio.Writer(tmp_path / "a.wav", 44100, 1) as writer:
        writer.write(stereo)
    with pytest.raises(AudioError, match=r"shape \(10,\) was given, \(c, t\) is expected"):
        audio.write(tmp_path / "a.wav", np.zeros(10, np.float32), 44100)
    with pytest.raises(AudioError, match="no samples were written"):
        audio.write(tmp_path / "a.wav", np.zeros((2, 0), np.float32), 44100)
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_take_a_file(tmp_path, monkeypatch):
    with pytest.raises(AudioError, match=r"its folder .*none does not exist: create it"):
        audio.Writer(tmp_path / "none" / "a.wav", 44100, 2)
    with pytest.raises(AudioError, match="is a folder where a file is to be written"):
        audio.Writer(tmp_path, 44100, 2)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(AudioError, match="is not writable: change its permissions"):
        audio.Writer(tmp_path / "a.wav", 44100, 2)


FULL_DISK = """
import resource, sys, numpy
from tfswa_unet import audio
from tfswa_unet.errors import AudioError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = numpy.random.default_rng(0).uniform(-1, 1, (2, 48000)).astype("float32")
try:
    with audio.Writer(sys.argv[1], 48000, 2, sys.argv[2]) as writer:
        for _ in range(20):
            writer.write(noise)
except AudioError as error:
    print(error)
"""


@pytest.mark.parametrize("format", ["wav32f", "flac16", "ogg", "mp3", "m4a"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, format):
    path = tmp_path / f"a{audio.FORMATS[format].extension}"
    said = subprocess.run([sys.executable, "-c", FULL_DISK, path, format], capture_output=True, text=True, check=True)
    assert f"{path}: cannot be written as {format}" in said.stdout
    assert "check the space left on the disk" in said.stdout
    assert not list(tmp_path.iterdir())


def test_a_small_wav_is_a_plain_riff_file(tmp_path):
    from scipy.io import wavfile

    audio.write(tmp_path / "a.wav", chirp(0.1), 44100, "wav16")
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"
    rate, samples = wavfile.read(tmp_path / "a.wav")
    assert (rate, samples.shape, samples.dtype) == (44100, (4410, 2), np.int16)
    np.testing.assert_allclose(samples.T / 2**15, chirp(0.1), atol=2**-16)


@pytest.mark.parametrize("format", audio.FORMATS)
def test_cover_art_goes_beside_the_same_sound(tmp_path, format):
    cover = audio.Cover("png", 20, 10, png(20, 10))
    plain, covered = (tmp_path / f"{name}{audio.FORMATS[format].extension}" for name in ("plain", "covered"))
    for path, given in ((plain, None), (covered, cover)):
        with audio.Writer(path, 48_000, 2, format, {"title": "A song"}, given) as writer:
            writer.write(chirp(0.5))
    assert audio.read_cover(plain) is None
    assert audio.read_cover(covered) == (cover if format in ("flac16", "flac24", "mp3", "m4a") else None)
    np.testing.assert_array_equal(audio.read(covered), audio.read(plain))
    assert audio.probe(covered).tags == {"title": "A song"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([covered.name, plain.name])
    if audio.FORMATS[format].covers:  # as FFmpeg's own command line sees it
        ffmpeg("-i", covered, "-map", "0:v", "-c", "copy", "-f", "image2", tmp_path / "seen.png")
        assert (tmp_path / "seen.png").read_bytes() == cover.data


def test_cover_art_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"nothing")
    assert audio.read_cover(tmp_path / "a.mp3") is None
    assert audio.read_cover(tmp_path / "none.mp3") is None
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=32x32:duration=0.2",
        "-f",
        "lavfi",
        "-i",
        "sine=duration=0.2",
        tmp_path / "film.mp4",
    )
    assert audio.read_cover(tmp_path / "film.mp4") is None  # a film is no cover
