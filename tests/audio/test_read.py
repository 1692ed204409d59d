from __future__ import annotations

import dataclasses
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.audio.conftest import ENCODINGS
from tests.audio.sounds import chirp, ffmpeg_decode
from tfswa_unet import audio
from tfswa_unet.errors import AudioError

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


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_whole_file_is_what_ffmpeg_decodes_and_as_long_as_probed(encoded, name):
    path = encoded / name
    info = audio.probe(path)
    ours = audio.read(path)
    theirs = ffmpeg_decode(path, info.channels)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert ours.shape == (info.channels, info.length)
    # FFmpeg's command keeps what mp4 declares as padding of the last frame.
    assert 0 <= theirs.shape[1] - info.length < (1024 if name.endswith("m4a") else 1)
    np.testing.assert_allclose(ours, theirs[:, : info.length], atol=1e-5)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_crop_is_the_same_samples_as_in_the_whole(encoded, name):
    path = encoded / name
    whole = audio.read(path)
    length = whole.shape[1]
    generator = np.random.default_rng(len(name))
    starts = [0, 1, length // 2, length - 5000, length - 500, *generator.integers(0, length - 5000, 4)]
    for start in map(int, starts):
        crop = audio.read(path, start, min(5000, length - start))
        np.testing.assert_allclose(crop, whole[:, start : start + 5000], atol=1e-6, err_msg=f"start {start}")
    np.testing.assert_allclose(audio.read(path, length - 1), whole[:, -1:], atol=1e-6)


@pytest.mark.parametrize("name", ["vbr.mp3", "song.m4a", "song.ogg", "16.wav"])
@pytest.mark.parametrize("size", [777, 65536, 1_000_000])
def test_blocks_join_to_the_whole(encoded, name, size):
    pieces = list(audio.blocks(encoded / name, size))
    assert {piece.shape[1] for piece in pieces[:-1]} <= {size}
    assert 0 < pieces[-1].shape[1] <= size
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), audio.read(encoded / name))


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24)])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_integer_wav_is_scaled_to_full_scale_one(tmp_path, subtype, step, channels, container):
    integers = np.random.default_rng(0).integers(-(2**31), 2**31, (400, channels), dtype=np.int64)
    soundfile.write(tmp_path / "a.wav", integers.astype(np.int32), 44100, subtype, format=container)
    read = audio.read(tmp_path / "a.wav")
    assert read.shape == (channels, 400)
    np.testing.assert_allclose(read, integers.T / 2**31, atol=step)


def test_levels_over_full_scale_are_kept(tmp_path):
    loud = 3 * chirp(0.5)
    soundfile.write(tmp_path / "loud.wav", loud.T, 44100, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "loud.wav"), loud)
    audio.write(tmp_path / "loud.ogg", loud, 44100, "ogg")
    assert audio.read(tmp_path / "loud.ogg").max() > 1.4


def test_mono_stays_mono(tmp_path):
    for name, kind in audio.FORMATS.items():
        path = tmp_path / f"mono{kind.extension}"
        audio.write(path, chirp(0.3, channels=1, rate=48000), 48000, name)
        assert audio.probe(path).channels == 1
        assert audio.read(path).shape == (1, 14400)


def test_names_that_look_like_addresses_or_options_are_files(tmp_path):
    for name in ("a:b.mp3", "-y.mp3", "Sigur Rós – 100%.mp3"):
        audio.write(tmp_path / name, chirp(0.2), 44100, "mp3")
        assert audio.read(tmp_path / name).shape == (2, 8820)


def test_a_crop_beyond_the_end_says_where_the_end_is(encoded):
    for name in ("16.wav", "vbr.mp3", "song.m4a", "song.ogg"):
        length = audio.probe(encoded / name).length
        with pytest.raises(AudioError, match=rf"start is sample 44100000 .* file ends at sample {length} \(4\.0"):
            audio.read(encoded / name, 44_100_000)
        with pytest.raises(AudioError, match=rf"crop from sample 100 .* to {length + 1} .* ends at sample {length}"):
            audio.read(encoded / name, 100, length - 99)
        with pytest.raises(AudioError, match="negative"):
            audio.read(encoded / name, -1)
        assert audio.read(encoded / name, 5, 0).shape == (2, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_counted_and_placed(tmp_path, value):
    sick = chirp(1.0)
    sick[1, 22050] = sick[0, 30000] = value
    soundfile.write(tmp_path / "sick.wav", sick.T, 44100, subtype="FLOAT")
    message = r"sick\.wav: 2 samples are NaN or infinite, the first at 0\.500 s \(sample 22050\)"
    with pytest.raises(AudioError, match=message):
        audio.read(tmp_path / "sick.wav")
    with pytest.raises(AudioError, match=r"1 sample is NaN .* 0\.680 s"):
        audio.read(tmp_path / "sick.wav", 22051)
    with pytest.raises(AudioError, match=r"first at 0\.500 s"):
        list(audio.blocks(tmp_path / "sick.wav", 1000))
    np.testing.assert_array_equal(audio.read(tmp_path / "sick.wav", allow_nonfinite=True), sick)
    assert sum(block.shape[1] for block in audio.blocks(tmp_path / "sick.wav", 1000, allow_nonfinite=True)) == 44100
    assert audio.read(tmp_path / "sick.wav", 0, 22050).shape == (2, 22050)


@pytest.mark.parametrize("name", ["long.wav", "long.mp3", "long.m4a"])
def test_memory_of_blocks_does_not_grow_with_duration(tmp_path, name):
    kind = {"wav": "wav16"}.get(name[-3:], name[-3:])
    peaks = []
    for seconds in (4, 16):
        audio.write(tmp_path / name, chirp(seconds, rate=16000), 16000, kind)
        list(zip(audio.blocks(tmp_path / name, 4096), range(2), strict=False))
        tracemalloc.start()
        for _ in audio.blocks(tmp_path / name, 4096):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_blocks_refuses_a_file_before_the_first_block(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        audio.blocks(tmp_path / "none.wav", 100)
    with pytest.raises(ValueError, match="at least 1 sample"):
        audio.blocks(tmp_path / "none.wav", 0)


@pytest.fixture(scope="module")
def stem_file():
    """The five-stream file that stempeg carries."""
    spec = find_spec("stempeg")
    assert spec is not None
    assert spec.origin is not None
    return next((Path(spec.origin).parent / "data").glob("*.stem.mp4"))


def test_all_streams_agree_with_stempeg(stem_file):
    import stempeg

    theirs, rate = stempeg.read_stems(str(stem_file), dtype=np.float32)
    for stream, reference in enumerate(theirs):
        info = audio.probe(stem_file, stream)
        ours = audio.read(stem_file, stream=stream)
        assert (info.streams, info.rate, info.channels, info.codec) == (5, rate, 2, "aac")
        assert ours.shape == reference.T.shape == (2, info.length)
        np.testing.assert_allclose(ours, reference.T, atol=1e-4)
    with pytest.raises(AudioError, match="has 5 audio streams, so stream 5 does not exist: choose a number up to 4"):
        audio.read(stem_file, stream=5)


def test_crops_and_blocks_of_a_stem_are_exact(stem_file):
    for stream in (0, 4):
        whole = audio.read(stem_file, stream=stream)
        for start in (0, 1023, 5000, 100_001, 260_000):
            np.testing.assert_array_equal(audio.read(stem_file, start, 7000, stream), whole[:, start : start + 7000])
        np.testing.assert_array_equal(np.concatenate(list(audio.blocks(stem_file, 30_000, stream)), axis=1), whole)


def test_the_mixture_is_close_to_the_sum_of_its_stems(stem_file):
    mixture, *stems = (audio.read(stem_file, stream=stream) for stream in range(5))
    error = np.mean((mixture - sum(stems)) ** 2) / np.mean(mixture**2)
    assert error < 0.05
