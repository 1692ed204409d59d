from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tfswa_unet import audio
from tfswa_unet.data.cache import decode
from tfswa_unet.data.cache.decode import Stem, write_stem
from tfswa_unet.data.cache.pcm import close_files, is_whole, read_header, read_pcm
from tfswa_unet.errors import AudioError, DataError
from tfswa_unet.types import Source

RATE = 8_000


def sound(channels=2, length=9_000, peak=1.0, seed=0):
    noise = np.random.default_rng(seed).uniform(-1, 1, (channels, length)).astype(np.float32)
    return noise * np.float32(peak / np.abs(noise).max())


@pytest.fixture
def cached(tmp_path):
    """Write audio (c, t) as a file, cache it, and give what is read back, and the header."""

    def through(x, subtype="FLOAT", name="a.wav", channels=2, target_rate=RATE, source=None):
        soundfile.write(tmp_path / name, x.T, RATE, subtype=subtype)
        source = source or Source(tmp_path / name)
        channels = min(channels, audio.probe(source.path).channels)
        stem = Stem("stem 'a'", tmp_path / "c" / "a.tfpcm", source, RATE, x.shape[1], channels, target_rate)
        stem.path.parent.mkdir(exist_ok=True)
        write_stem(stem)
        assert stem.is_made
        assert is_whole(stem.path)
        assert list(stem.path.parent.iterdir()) == [stem.path]
        header = read_header(stem.path)
        return read_pcm(stem.path, 0, header.length), header

    return through


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_16"), ("a.wav", "PCM_U8")])
def test_16_bits_and_fewer_are_kept_exactly(cached, tmp_path, name, subtype):
    read, header = cached(sound(peak=0.999), subtype, name)
    assert header.scale == 2**-15
    np.testing.assert_array_equal(read, audio.read(tmp_path / name))


@pytest.mark.parametrize(
    ("subtype", "peak"), [("PCM_24", 0.8), ("FLOAT", 0.01), ("FLOAT", 1.0), ("FLOAT", 4.0), ("DOUBLE", 1.3)]
)
def test_more_bits_and_more_than_full_scale_stay_within_half_a_step_of_the_peak(cached, tmp_path, subtype, peak):
    read, header = cached(sound(peak=peak), subtype)
    truth = audio.read(tmp_path / "a.wav")
    assert header.scale == pytest.approx(np.abs(truth).max() / 32_767)
    assert np.abs(read - truth).max() <= 0.51 * np.abs(truth).max() / 32_767
    assert np.abs(read).max() == pytest.approx(np.abs(truth).max())


def test_what_a_lossy_file_decodes_to_stays_within_half_a_step(cached, tmp_path):
    read, _ = cached(sound(peak=0.5), "VORBIS", "a.ogg")
    truth = audio.read(tmp_path / "a.ogg")
    assert np.abs(read - truth).max() <= 0.51 * np.abs(truth).max() / 32_767


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_silence_and_full_scale(cached, value):
    read, header = cached(np.full((1, 100), value, np.float32))
    np.testing.assert_allclose(read, value, rtol=1e-6)
    assert (header.scale == 2**-15) == (value < 1)


@pytest.mark.parametrize("target", [44_100, 5_000])
def test_other_rates_are_resampled_once(cached, target, monkeypatch):
    monkeypatch.setattr(decode, "CHUNK", 1_000)
    x = sound(peak=0.9)
    read, header = cached(x, target_rate=target)
    truth = audio.resample(x, RATE, target)
    assert (header.rate, read.shape) == (target, truth.shape)
    assert np.abs(read - truth).max() <= 0.51 * np.abs(truth).max() / 32_767 + 1e-6


def test_mono_stays_mono_and_stereo_is_averaged_for_a_mono_model(cached):
    assert cached(sound(1))[0].shape == (1, 9_000)
    close_files()
    x = sound(2)
    read, _ = cached(x, channels=1)
    assert np.abs(read - x.mean(0)).max() <= 0.51 / 32_767


def test_a_stem_of_several_stretches_is_their_sum(cached, tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "BLOCK", 1_000)
    first, second = sound(2, 9_000, 0.7), sound(1, 5_000, 0.9, 1)
    soundfile.write(tmp_path / "b.wav", second.T, RATE, subtype="FLOAT")
    more = Source(tmp_path / "b.wav", start=100, length=3_000)
    read, _ = cached(first, source=Source(tmp_path / "a.wav", more=(more,)))
    truth = first.copy()
    truth[:, :3_000] += second[:, 100:3_100]
    assert np.abs(read - truth).max() <= 0.51 * np.abs(truth).max() / 32_767


def test_a_failure_leaves_nothing(tmp_path):
    x = sound()
    x[0, 7_000] = np.nan
    soundfile.write(tmp_path / "a.wav", x.T, RATE, subtype="FLOAT")
    (tmp_path / "c").mkdir()
    stem = Stem("stem 'a'", tmp_path / "c" / "a.tfpcm", Source(tmp_path / "a.wav"), RATE, 9_000, 2, RATE)
    with pytest.raises(AudioError, match="NaN"):
        write_stem(stem)
    soundfile.write(tmp_path / "a.wav", sound(length=8_000).T, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"gave 8000 samples at 8000 Hz, expected 9000: it was changed meanwhile"):
        write_stem(stem)
    soundfile.write(tmp_path / "a.wav", sound(6, 9_000).T, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="stem 'a' has 6 channels, expected 1 or 2: mix it down"):
        write_stem(stem)
    assert list((tmp_path / "c").iterdir()) == []


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decode, "write_pcm", full)
    soundfile.write(tmp_path / "a.wav", sound().T, RATE)
    stem = Stem("a", tmp_path / "a.tfpcm", Source(tmp_path / "a.wav"), RATE, 9_000, 2, RATE)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\): make room there"):
        write_stem(stem)
    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)"):
        write_stem(replace(stem, path=tmp_path / "a.wav" / "x" / "a.tfpcm"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
