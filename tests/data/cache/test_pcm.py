from __future__ import annotations

import os

import numpy as np
import pytest

from tfswa_unet.data.cache import pcm
from tfswa_unet.errors import DataError


def write(path, audio, scale=2**-15):
    pcm.write_pcm(path, list(audio), 8_000, *audio.shape, scale)
    return path


@pytest.fixture
def integers():
    return np.random.default_rng(0).integers(-(2**15), 2**15, (2, 5_000), dtype=np.int16)


def test_the_file_can_be_mapped_as_its_header_says(tmp_path, integers):
    path = write(tmp_path / "a.tfpcm", integers * np.float32(2**-15))
    header = pcm.read_header(path)
    assert (header.rate, header.channels, header.length, header.scale) == (8_000, 2, 5_000, 2**-15)
    mapped = np.memmap(path, "<i2", "r", offset=pcm.PAGE, shape=(header.channels, header.length))
    np.testing.assert_array_equal(mapped, integers)
    assert path.stat().st_size == pcm.size_in_bytes(2, 5_000)


@pytest.mark.parametrize(("start", "length"), [(0, 5_000), (0, 1), (1_234, 777), (4_999, 1), (5_000, 0)])
def test_a_crop_is_the_same_part_of_the_whole(tmp_path, integers, start, length):
    audio = integers * np.float32(2**-15)
    crop = pcm.read_pcm(write(tmp_path / "a.tfpcm", audio), start, length)
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, audio[:, start : start + length])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [pcm.BLOCK - 1, pcm.BLOCK, 2 * pcm.BLOCK + 3])
def test_samples_are_written_or_added_where_they_are_wanted(tmp_path, channels, length):
    audio = (np.random.default_rng(2).integers(-99, 99, (channels, length + 9)) / 2**15).astype(np.float32)
    path = write(tmp_path / "a.tfpcm", audio)
    memory = np.full((2, length + 2), 7, np.float32)
    pcm.read_into(path, 9, memory[:, 1:-1])
    np.testing.assert_array_equal(memory[:, 1:-1], np.broadcast_to(audio[:, 9:], (2, length)))
    pcm.read_into(path, 5, memory[:, 1:-1], add=True)
    np.testing.assert_array_equal(memory[:, 1:-1], np.broadcast_to(audio[:, 9:] + audio[:, 5:-4], (2, length)))
    assert (memory[:, [0, -1]] == 7).all()


@pytest.mark.parametrize(("start", "length"), [(0, 5_001), (4_000, 1_001), (9_000, 1)])
def test_reading_past_the_end_is_refused(tmp_path, integers, start, length):
    path = write(tmp_path / "a.tfpcm", integers * np.float32(2**-15))
    with pytest.raises(DataError, match=r"a\.tfpcm is damaged or gone"):
        pcm.read_pcm(path, start, length)


@pytest.mark.parametrize("damage", ["cut", "flipped", "no header", "another header", "gone"])
def test_damage_is_found(tmp_path, integers, damage):
    path = write(tmp_path / "a.tfpcm", integers * np.float32(2**-15))
    assert pcm.is_whole(path)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-1]
    elif damage == "flipped":
        data[-100] ^= 1
    elif damage == "no header":
        data[:5] = b"xxxxx"
    elif damage == "another header":
        data = data.replace(b"tfswa-pcm-1", b"tfswa-pcm-9").replace(b'"rate": 8000', b'"rate": "8k"')
    path.unlink()
    if damage != "gone":
        path.write_bytes(data)
    pcm.close_files()
    assert not pcm.is_whole(path)
    if damage != "flipped":
        with pytest.raises(DataError, match=r"run `tfswa data cache --verify` on the data set, or delete the cache"):
            pcm.read_pcm(path, 4_000, 1_000)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
def test_few_files_stay_open(tmp_path, integers):
    paths = [write(tmp_path / f"{k}.tfpcm", integers[:, :10] * np.float32(2**-15)) for k in range(100)]
    before = len(os.listdir("/proc/self/fd"))
    for path in paths * 2:
        pcm.read_pcm(path, 2, 5)
    assert len(os.listdir("/proc/self/fd")) <= before + pcm.OPEN_FILES
    pcm.close_files()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("peak", [0.3, 1.0, 7.5, 1e-6])
def test_the_step_holds_the_peak_and_bounds_the_error(tmp_path, peak):
    audio = np.random.default_rng(1).uniform(-peak, peak, (1, 4_000)).astype(np.float32)
    audio[0, :2] = peak, -peak
    read = pcm.read_pcm(write(tmp_path / "a.tfpcm", audio, pcm.step(peak, False)), 0, 4_000)
    np.testing.assert_allclose(read[0, :2], audio[0, :2], rtol=1e-6)
    assert np.abs(read - audio).max() <= 0.51 * peak / 32_767


def test_the_smallest_numbers_do_not_divide_by_zero(tmp_path):
    audio = np.full((1, 8), 1e-40, np.float32)
    read = pcm.read_pcm(write(tmp_path / "a.tfpcm", audio, pcm.step(1e-40, False)), 0, 8)
    assert np.isfinite(read).all()
    assert np.abs(read - audio).max() <= 1e-38
