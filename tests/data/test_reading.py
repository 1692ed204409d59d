from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.reading import BLOCK, StemReader, is_below, read_source
from tfswa_unet.data.stems import StemPlan
from tfswa_unet.errors import AudioError, ConfigError, DataError
from tfswa_unet.types import Source


def noise(channels: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, length)).astype(np.float32)


def read(reader: StemReader, track: int, stem: int, start: int, size: int) -> np.ndarray:
    crop = np.full((reader.channels, size), np.nan, np.float32)  # whatever was in that memory is written over
    reader.fill(crop, track, stem, start)
    summed = np.ones_like(crop)
    reader.fill(summed, track, stem, start, add=True)
    np.testing.assert_allclose(summed, crop + 1, atol=1e-6)
    return crop


def reader(tracks, stems, rate=8_000, channels=2) -> StemReader:
    return StemReader(tracks, StemPlan.from_config(stems), rate, channels)


def test_a_stem_sums_its_sources_and_the_remainder_completes_the_mixture(make_track):
    sources = {name: noise(2, 300, seed) for seed, name in enumerate(("a", "b", "c", "d"))}
    one = reader([make_track("x", sources)], {"first": "a", "pair": ["b", "c"]})
    assert one.names == ("first", "pair", "_rest")
    assert one.targets == 2
    np.testing.assert_array_equal(read(one, 0, 1, 20, 100), (sources["b"] + sources["c"])[:, 20:120])
    np.testing.assert_array_equal(read(one, 0, 2, 20, 100), sources["d"][:, 20:120])


def test_a_plan_that_covers_all_has_no_remainder(make_track):
    one = reader([make_track("x", {"a": noise(2, 9), "b": noise(2, 9)})], {"first": "a", "others": "rest"})
    assert one.names == ("first", "others")
    assert one.targets == 2


def test_only_the_crop_is_read(make_track, monkeypatch):
    asked = []
    original = audio.read
    monkeypatch.setattr(audio, "read", lambda *args: asked.append(args[1:]) or original(*args))
    read(reader([make_track("x", {"a": noise(2, 5_000)})], {"a": "a"}), 0, 0, 4_000, 50)
    assert asked == [(4_000, 50, 0)] * 2  # once to fill, once to add


def test_past_the_end_are_zeros(make_track):
    x = noise(2, 300)
    crop = read(reader([make_track("x", {"a": x})], {"a": "a"}), 0, 0, 250, 100)
    np.testing.assert_array_equal(crop, np.pad(x[:, 250:], ((0, 0), (0, 50))))


def test_mono_is_copied_to_both_channels_and_stereo_averaged_to_mono(make_track):
    mono, stereo = noise(1, 100), noise(2, 100, 1)
    track = make_track("x", {"mono": mono, "stereo": stereo})
    plan = {"mono": "mono", "stereo": "stereo"}
    np.testing.assert_array_equal(read(reader([track], plan), 0, 0, 0, 100), np.concatenate([mono, mono]))
    np.testing.assert_allclose(
        read(reader([track], plan, channels=1), 0, 1, 0, 100), stereo.mean(0, keepdims=True), atol=1e-7
    )


def test_six_channels_are_refused(make_track):
    one = reader([make_track("x", {"a": noise(6, 100)})], {"a": "a"})
    with pytest.raises(DataError, match="stem 'a' of track 'x' has 6 channels, expected 1 or 2"):
        read(one, 0, 0, 0, 10)


@pytest.mark.parametrize(("source", "target"), [(48_000, 44_100), (22_050, 44_100), (44_100, 16_000), (11_025, 16_000)])
@pytest.mark.parametrize("start", [0, 1, 4_999, 20_011])
def test_a_resampled_crop_equals_the_crop_of_the_resampled_song(make_track, source, target, start):
    song = noise(2, source)
    whole = audio.resample(song, source, target)
    one = reader([make_track("x", {"a": song}, source)], {"a": "a"}, target)
    assert one.lengths == (whole.shape[-1],)
    start = min(start, target - 900)
    np.testing.assert_allclose(read(one, 0, 0, start, 700), whole[:, start : start + 700], atol=2e-5)


def test_a_resampled_crop_at_the_end_stops_where_the_resampled_song_does(make_track):
    song = noise(2, 4_000)
    whole = audio.resample(song, 48_000, 44_100)
    crop = read(reader([make_track("x", {"a": song}, 48_000)], {"a": "a"}, 44_100), 0, 0, 3_500, 400)
    np.testing.assert_allclose(crop[:, : whole.shape[-1] - 3_500], whole[:, 3_500:], atol=2e-5)
    assert (crop[:, whole.shape[-1] - 3_500 :] == 0).all()


def test_a_source_that_a_track_lacks_is_silent_there(make_track):
    tracks = [make_track("x", {"a": noise(2, 50), "b": noise(2, 50)}), make_track("y", {"a": noise(2, 50)})]
    one = reader(tracks, {"b": "b"})
    assert one.names == ("b", "_rest")
    assert (read(one, 1, 0, 0, 50) == 0).all()
    assert (read(one, 0, 0, 0, 50) != 0).all()


def test_what_no_track_has_is_refused_with_what_they_have(make_track):
    with pytest.raises(ConfigError, match=r"source stem 'guitars' \(did you mean guitar\?\): .* flute, guitar"):
        reader([make_track("x", {"flute": noise(2, 9), "guitar": noise(2, 9)})], {"g": "guitars"})


def test_no_tracks_and_no_channels_are_refused(make_track):
    with pytest.raises(DataError, match="no tracks"):
        reader([], {"a": "a"})
    with pytest.raises(ConfigError, match="0 channels"):
        reader([make_track("x", {"a": noise(2, 9)})], {"a": "a"}, channels=0)


@pytest.fixture
def cached(make_track, tmp_path):
    """Cache tracks at 8 kHz in stereo."""
    return lambda *tracks: PcmCache(tmp_path / "cache", 8_000, 2).build(tracks, workers=1).tracks


def test_stems_of_a_cache_read_as_their_files_do(make_track, cached):
    rng = np.random.default_rng(5)
    # 16-bit levels, that the cache keeps exactly.
    stems = {
        name: (rng.integers(-3_000, 3_000, (channels, 90_000)) / 2**15).astype(np.float32)
        for name, channels in (("a", 2), ("b", 2), ("mono", 1))
    }
    tracks = [make_track("x", stems), make_track("y", {"a": stems["a"][:, :300]})]
    plan = {"pair": ["a", "b"], "mono": "mono"}
    for channels in (1, 2):
        ours, theirs = reader(cached(*tracks), plan, channels=channels), reader(tracks, plan, channels=channels)
        places = [(0, 0, 0, 80_000), (0, 0, 123, 40_000), (0, 1, 89_000, 2_000), (1, 0, 250, 100), (1, 1, 0, 50)]
        for track, stem, start, size in places:
            np.testing.assert_array_equal(read(ours, track, stem, start, size), read(theirs, track, stem, start, size))


@pytest.fixture
def files(tmp_path, write_wav):
    """Stereo of 400 samples, mono of 300, and both as they are."""
    stereo, mono = noise(2, 400), noise(1, 300, 1)
    return Source(write_wav(tmp_path / "a.wav", stereo)), Source(write_wav(tmp_path / "b.wav", mono)), stereo, mono


def test_parts_are_summed_and_one_that_ended_is_silent(files):
    a, b, stereo, mono = files
    whole = stereo + np.pad(mono, ((0, 0), (0, 100)))
    both = replace(a, more=(replace(b, length=300),))
    np.testing.assert_array_equal(read_source(both), whole)
    np.testing.assert_array_equal(read_source(both, 250, 120), whole[:, 250:370])
    np.testing.assert_array_equal(read_source(both, 350, 50), stereo[:, 350:])


def test_a_stretch_begins_at_its_start(files):
    a, _, stereo, _ = files
    stretch = replace(a, start=100, length=50)
    np.testing.assert_array_equal(read_source(stretch), stereo[:, 100:150])
    np.testing.assert_array_equal(read_source(stretch, 20, 10), stereo[:, 120:130])
    np.testing.assert_array_equal(read_source(stretch, 40, 20)[:, 10:], 0)


def test_a_crop_past_the_end_is_refused_where_the_file_should_have_gone_on(files):
    with pytest.raises(AudioError, match="the file ends at sample 400"):
        read_source(files[0], 390, 20)


@pytest.mark.parametrize("level", [-60.0, -30.0, -1.0])
def test_the_level_is_the_rms_over_channels_and_samples(level):
    noise = np.random.default_rng(0).standard_normal((2, 2 * BLOCK + 77)).astype(np.float32)
    noise[1] = 0
    noise *= 10 ** (level / 20) / np.sqrt(np.mean(np.square(noise, dtype=np.float64)))
    assert is_below(noise, level + 0.01)
    assert not is_below(noise, level - 0.01)


def test_sound_at_the_end_counts_and_silence_is_below_any_level():
    audio = np.zeros((1, 3 * BLOCK), np.float32)
    assert is_below(audio, -300)
    audio[0, -1] = 1
    assert not is_below(audio, 10 * np.log10(1 / audio.size) - 0.1)
