"""Files as people have them: headers that are wrong, joined files, names that are not UTF-8."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile

from tests.audio.sounds import chirp
from tfswa_unet import audio
from tfswa_unet.errors import AudioError


def wav(path, data_size=None, riff_size=None):
    """A 16-bit wav whose header announces other sizes than it has."""
    audio.write(path, chirp(1.0), 44100, "wav16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    whole = audio.read(path)
    if data_size is not None:
        present = struct.unpack_from("<I", content, at)[0]
        struct.pack_into("<I", content, at, data_size(present))
    if riff_size is not None:
        struct.pack_into("<I", content, 4, riff_size)
    path.write_bytes(content)
    return whole


def big_endian(path):
    """The samples of a RIFX file, which is a wav with its bytes in the other order."""
    samples = np.random.default_rng(0).integers(-9000, 9000, (2, 5000)).astype(">i2")
    data = samples.T.tobytes()
    form = struct.pack(">HHIIHH", 1, 2, 44100, 44100 * 4, 4, 16)
    chunks = b"WAVEfmt " + struct.pack(">I", 16) + form + b"data" + struct.pack(">I", len(data)) + data
    path.write_bytes(b"RIFX" + struct.pack(">I", len(chunks)) + chunks)
    return samples.astype(np.float32) / 32768


def check(path, whole):
    """The file is read as `whole`, and so are its crops."""
    length = whole.shape[1]
    assert audio.probe(path).length == length
    np.testing.assert_allclose(audio.read(path), whole, atol=2e-6)
    for start in (1, length // 3, length // 2, length - 700):
        np.testing.assert_allclose(audio.read(path, start, 600), whole[:, start : start + 600], atol=2e-6)


@pytest.mark.parametrize("riff", [None, 0])
@pytest.mark.parametrize("size", [lambda n: 0, lambda n: 0xFFFFFFFF, lambda n: n + 6, lambda n: n + 1])
def test_a_wav_is_read_whole_whatever_size_its_header_says(tmp_path, size, riff):
    check(tmp_path / "a.wav", wav(tmp_path / "a.wav", size, riff))


def test_a_wav_that_lacks_a_second_is_refused(tmp_path):
    wav(tmp_path / "a.wav", lambda n: n + 44100 * 4)
    with pytest.raises(AudioError, match=r"decoded 1\.00 s of 2\.00 s announced"):
        audio.probe(tmp_path / "a.wav")


def test_rifx_and_id3_before_riff(tmp_path):
    check(tmp_path / "big.wav", big_endian(tmp_path / "big.wav"))
    whole = wav(tmp_path / "a.wav")
    path = tmp_path / "tagged.wav"
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + (tmp_path / "a.wav").read_bytes())
    check(path, whole)


@pytest.mark.parametrize("format", ["ogg", "opus"])
def test_every_link_of_a_chained_ogg_is_read(tmp_path, format):
    first, second = tmp_path / f"1.{format}", tmp_path / f"2.{format}"
    audio.write(first, chirp(2.0, rate=48000), 48000, format)
    audio.write(second, chirp(1.3, rate=48000, seed=1), 48000, format)
    for parts in ([first, second], [first, first], [second, first, second]):
        chained = tmp_path / f"chained.{format}"
        chained.write_bytes(b"".join(part.read_bytes() for part in parts))
        check(chained, np.concatenate([audio.read(part) for part in parts], axis=1))


def test_links_of_different_rates_are_refused(tmp_path):
    audio.write(tmp_path / "1.ogg", chirp(0.5), 44100, "ogg")
    audio.write(tmp_path / "2.ogg", chirp(0.5, rate=48000), 48000, "ogg")
    path = tmp_path / "both.ogg"
    path.write_bytes((tmp_path / "1.ogg").read_bytes() + (tmp_path / "2.ogg").read_bytes())
    for attempt in (audio.probe, audio.read):
        with pytest.raises(AudioError, match="changes from 2 channels at 44100 Hz to 2 channels at 48000 Hz"):
            attempt(path)


def test_what_follows_the_last_frame_of_an_mp3_is_no_damage(tmp_path, encoded):
    header = struct.pack("<IIII", 2000, 20032, 1, 0xA0000000) + bytes(8)
    cover = b"APETAGEX" + header + b"\xff\xd8" + np.random.default_rng(0).bytes(20000) + b"APETAGEX" + header
    for name in ("vbr.mp3", "cbr.mp3", "half_rate.mp3"):
        whole = audio.read(encoded / name)
        for tail in (bytes(5000), cover):
            path = tmp_path / name
            path.write_bytes((encoded / name).read_bytes() + tail)
            assert audio.probe(path).length == audio.read(path).shape[1]
            assert abs(audio.probe(path).length - whole.shape[1]) < 1200
            same = whole.shape[1] - 1200
            np.testing.assert_allclose(audio.read(path)[:, :same], whole[:, :same], atol=1e-6)


def test_another_mp3_behind_an_mp3_belongs_to_the_song(tmp_path, encoded):
    path = tmp_path / "both.mp3"
    path.write_bytes((encoded / "vbr.mp3").read_bytes() * 2)
    once = audio.probe(encoded / "vbr.mp3").length
    assert 2 * once <= audio.probe(path).length < 2 * once + 5 * 1152
    assert audio.read(path).shape[1] == audio.probe(path).length


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("format", ["wav16", "ogg", "mp3", "m4a"])
def test_names_that_are_not_utf8_are_written_and_read(tmp_path, format):
    path = tmp_path / os.fsdecode(b"s\xf6ng") / os.fsdecode(b"\xe4" + audio.FORMATS[format].extension.encode())
    path.parent.mkdir()
    audio.write(path, chirp(0.5), 44100, format)
    assert audio.read(path).shape == (2, 22050)


SIZES = {"wav": ("<I", 4), "aiff": (">I", 4), "caf": (">q", 4), "w64": ("<q", 16)}  # of the data chunk, behind its name


def sized(path, change, subtype="PCM_16"):
    """A file of 1 s whose header announces what `change` makes of the size that it has; gives the samples."""
    soundfile.write(path, chirp(1.0).T, 44100, subtype=subtype)
    whole, content = audio.read(path), bytearray(path.read_bytes())
    form, behind = SIZES[path.suffix[1:]]
    at = content.index(b"SSND" if path.suffix == ".aiff" else b"data") + behind
    struct.pack_into(form, content, at, change(struct.unpack_from(form, content, at)[0]))
    path.write_bytes(content)
    return whole


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("change", [lambda n: 0, lambda n: n + 1, lambda n: n + 2, lambda n: n + 8])
@pytest.mark.parametrize("ending", SIZES)
def test_a_size_of_none_or_a_few_bytes_too_many_loses_no_sample(tmp_path, ending, change, subtype):
    check(tmp_path / f"a.{ending}", sized(tmp_path / f"a.{ending}", change, subtype))


@pytest.mark.parametrize("size", [-1, 4])  # unknown, as the format allows; and no more than its number of edits
def test_a_caf_that_was_never_closed_is_read_whole(tmp_path, size):
    check(tmp_path / "a.caf", sized(tmp_path / "a.caf", lambda n: size))


@pytest.mark.parametrize("ending", SIZES)
def test_a_size_a_frame_too_small_loses_that_frame_alone(tmp_path, ending):
    whole = sized(tmp_path / f"a.{ending}", lambda n: n - 4)
    read = audio.read(tmp_path / f"a.{ending}")
    assert whole.shape[1] - read.shape[1] in (0, 1)
    np.testing.assert_allclose(read, whole[:, : read.shape[1]], atol=2e-6)


def test_rifx_that_announces_nothing_is_refused_rather_than_read_as_noise(tmp_path):
    path = tmp_path / "big.wav"
    big_endian(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(">I", content, content.index(b"data") + 4, 0)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="holds 0 samples where audio is expected"):
        audio.read(path)


@pytest.mark.parametrize(
    ("format", "ending"),
    [("WAV", "wav"), ("RF64", "wav"), ("AIFF", "aiff"), ("CAF", "caf"), ("W64", "w64"), ("AU", "au")],
)
def test_half_a_file_is_refused(tmp_path, format, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, chirp(2.0).T, 44100, subtype="PCM_16", format=format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for attempt in (audio.probe, audio.read):
        with pytest.raises(AudioError, match=r"decoded (1\.00|0\.99) s of 2\.00 s announced: the file is cut short"):
            attempt(path)


@pytest.mark.parametrize("zeros", [1, 1000, 100_000])
@pytest.mark.parametrize("length", [88_200, 88_201])
def test_zeros_behind_an_mp3_are_no_samples(tmp_path, length, zeros):
    path = tmp_path / "a.mp3"
    audio.write(path, chirp(length / 44100), 44100, "mp3")
    whole = audio.read(path)
    assert whole.shape[1] == length
    path.write_bytes(path.read_bytes() + bytes(zeros))
    check(path, whole)
