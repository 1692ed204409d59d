"""Pipes: what comes through them is what a file holds, and what is written has no end."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import soundfile

from tests.audio.sounds import chirp, ffmpeg_decode
from tfswa_unet import audio
from tfswa_unet.audio.pipe import RAW_FORMATS
from tfswa_unet.errors import AudioError, ConfigError


class Pipe(io.RawIOBase):
    """Bytes that cannot be sought, given a few at a time."""

    def __init__(self, content, most=1000):
        self._file, self._most = io.BytesIO(content), most

    def readable(self):
        return True

    def seekable(self):
        return False

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[: self._most])


def piped(content, **options):
    reader = audio.PipeReader(io.BufferedReader(Pipe(content)), **options)
    return reader.info, np.concatenate(list(reader.blocks()), axis=1)


@pytest.mark.parametrize("format", ["wav16", "wav24", "wav32f", "flac16", "mp3", "ogg", "opus"])
def test_a_container_gives_what_its_file_gives(tmp_path, format):
    path = tmp_path / f"x{audio.FORMATS[format].extension}"
    audio.write(path, chirp(1.0, rate=48_000), 48_000, format, {"title": "A song"})
    info, given = piped(path.read_bytes())
    assert (info.rate, info.channels, info.length) == (48_000, 2, 0)
    assert info.tags.get("title") == "A song"
    whole = audio.read(path)
    assert abs(given.shape[1] - whole.shape[1]) <= (0 if audio.FORMATS[format].lossless else 2304)  # an mp3's padding
    shared = min(given.shape[1], whole.shape[1])
    np.testing.assert_allclose(given[:, :shared], whole[:, :shared], atol=1e-4)


@pytest.mark.parametrize("samples", RAW_FORMATS)
def test_raw_samples_are_scaled_to_full_scale(samples):
    sound = chirp(0.1, channels=3, rate=8000)
    kind = np.dtype(RAW_FORMATS[samples])
    numbers = sound.T
    if kind.kind != "f":
        half = 2.0 ** (8 * kind.itemsize - 1)
        numbers = np.rint(numbers.astype(float) * half) + (half if kind.kind == "u" else 0)
    content = numbers.astype(kind).tobytes() + b"\0"  # and a byte of a frame that never came
    info, given = piped(content, raw=audio.RawFormat.parse(f"8000, 3, {samples}"))
    assert (info.rate, info.channels, info.codec) == (8000, 3, samples)
    np.testing.assert_allclose(given, sound, atol=1 / 256 if kind.itemsize == 1 else 2e-5)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_that_does_not_know_its_end_is_read_to_it(tmp_path, size):
    soundfile.write(tmp_path / "x.wav", chirp(0.5).T, 44_100, subtype="PCM_16")
    content = bytearray((tmp_path / "x.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = size.to_bytes(4, "little")
    _, given = piped(bytes(content))
    np.testing.assert_array_equal(given, audio.read(tmp_path / "x.wav")[:, : given.shape[1]])
    assert given.shape[1] == 22_050


@pytest.mark.parametrize(("format", "step"), [("wav16", 2**-16), ("wav24", 2**-24), ("wav32f", 0)])
def test_what_is_written_is_a_wav_for_others(tmp_path, format, step):
    sound, path = chirp(0.5), tmp_path / "x.wav"
    with open(path, "wb") as file:
        writer = audio.PipeWriter(file, 44_100, 2, format)
        for start in range(0, sound.shape[1], 5000):
            writer.write(sound[:, start : start + 5000])
    np.testing.assert_allclose(ffmpeg_decode(path, 2), sound, atol=step + 1e-7)
    np.testing.assert_allclose(audio.read(path), sound, atol=step + 1e-7)


def test_memory_does_not_grow_with_what_comes():
    class Endless(io.RawIOBase):
        def __init__(self, size):
            self.left = size

        def readable(self):
            return True

        def readinto(self, buffer):
            count = min(len(buffer), self.left)
            buffer[:count] = bytes(count)
            self.left -= count
            return count

    def peak(size):
        tracemalloc.start()
        reader = audio.PipeReader(io.BufferedReader(Endless(size)), audio.RawFormat(44_100, 2, "s16le"))
        count = sum(block.shape[1] for block in reader.blocks())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == size // 4
        return most

    peak(1 << 20)
    assert peak(1 << 26) < 1.2 * peak(1 << 22)


@pytest.mark.parametrize("content", [b"", b"no sound at all" * 1000, b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_audio_is_refused(content):
    with pytest.raises(AudioError, match=r"stdin: (no audio that can be read from a pipe|holds no audio)"):
        piped(content)


def test_raw_audio_of_nothing_and_without_sense_is_refused():
    with pytest.raises(AudioError, match="stdin: holds 0 samples"):
        piped(b"", raw=audio.RawFormat(44_100, 2, "s16le"))
    with pytest.raises(AudioError, match="stdin: 1 sample is NaN"):
        piped(np.full((1, 1), np.nan, "<f4").tobytes(), raw=audio.RawFormat(8000, 1, "f32le"))
    for text in ("44100", "0,2,s16le", "44100,2,s17le", "44100,two,s16le", "44100,2,s16le,x"):
        with pytest.raises(ConfigError, match="expected RATE,CHANNELS,FORMAT such as 44100,2,s16le"):
            audio.RawFormat.parse(text)
    with pytest.raises(ConfigError, match="mp3 cannot be written into a pipe"):
        audio.PipeWriter(io.BytesIO(), 44_100, 2, "mp3")
