from __future__ import annotations

import numpy as np
import pytest

from tests.songs.conftest import beat, tone
from tfswa_unet import audio
from tfswa_unet.songs.samples import Sample, estimate_tempo, fill, nearest_octave

RATE = 44_100


@pytest.fixture
def sample(tmp_path, write_wav):
    def make(sound: np.ndarray, bpm: float | None, rate: int = RATE) -> Sample:
        path = write_wav(tmp_path / f"{bpm} {rate}.wav", sound, rate)
        return Sample(path, rate, sound.shape[-1], bpm)

    return make


def test_a_loop_at_the_songs_tempo_is_repeated_as_it_is(sample):
    loop = beat(120, 4, RATE)
    filled = fill(sample(loop, 120), 120, 5 * RATE, np.random.default_rng(0))
    assert filled.shape == (2, 5 * RATE)
    inner = slice(60, 2 * RATE - 300)
    for k in (0, 2 * RATE):
        np.testing.assert_array_equal(filled[0, k : k + 2 * RATE][inner], loop[0, inner])
    np.testing.assert_array_equal(filled[0], filled[1])


@pytest.mark.parametrize("named", [True, False])
def test_a_loop_is_stretched_to_the_songs_tempo_at_its_own_pitch(sample, named):
    loop = beat(100, 8, RATE) + tone(440, 4.8, RATE)
    filled = fill(sample(loop, 100 if named else None), 126, round(24 * 60 / 126 * RATE), np.random.default_rng(0))
    assert estimate_tempo(filled, RATE) == pytest.approx(126, abs=0.3)
    spectrum = np.abs(np.fft.rfft(filled[0, :RATE] * np.hanning(RATE)))
    assert spectrum.argmax() == 440
    # Eight beats after each other, whatever the number of repetitions.
    period = round(8 * 60 / 126 * RATE)
    np.testing.assert_allclose(filled[0, 100:20_000], filled[0, period + 100 : period + 20_000], atol=1e-6)


def test_repetitions_do_not_drift(sample):
    # Seven beats of 23,742.9 samples: rounding each repetition's length would add up.
    loop = np.zeros((1, round(60 / 111.4 * RATE)), np.float32)
    loop[0, 1_000] = 1
    filled = fill(sample(loop, 111.4), 111.4, 60 * RATE, np.random.default_rng(0))
    hits = np.flatnonzero(filled[0] > 0.5)
    np.testing.assert_allclose(hits, 1_000 + np.arange(len(hits)) * 60 / 111.4 * RATE, atol=1)
    assert len(hits) == 112


def test_another_rate_is_resampled(sample):
    filled = fill(sample(tone(440, 2, 22_050), 120, 22_050), 120, RATE, np.random.default_rng(0))
    assert np.abs(np.fft.rfft(filled[0] * np.hanning(RATE))).argmax() == 440


def test_single_hits_fall_on_the_same_eighths_of_every_bar(sample):
    hit = np.zeros((1, 2_000), np.float32)
    hit[0, 0] = 1
    filled = fill(sample(hit, None), 120, 8 * RATE, np.random.default_rng(3))
    hits = np.flatnonzero(filled[0])
    assert set(hits % (RATE // 4)) == {0}
    bars = [set(hits[hits // (2 * RATE) == bar] % (2 * RATE)) for bar in range(4)]
    assert all(bar == bars[0] for bar in bars)
    assert 0 in bars[0]
    assert len(bars[0]) > 1


def test_what_has_no_tempo_is_not_stretched_and_starts_anew_on_a_bar(sample):
    sound = tone(441, 2.5, RATE)
    filled = fill(sample(sound, None), 120, 9 * RATE, np.random.default_rng(0))
    np.testing.assert_array_equal(filled[0, 1_000:100_000], sound[0, 1_000:100_000])
    np.testing.assert_array_equal(filled[0, 4 * RATE + 1_000 : 4 * RATE + 100_000], sound[0, 1_000:100_000])
    assert not filled[0, round(2.5 * RATE) : 4 * RATE].any()


def test_half_and_double_tempos_are_the_same_tempo():
    assert nearest_octave(70, 130) == 140
    assert nearest_octave(180, 95) == 90
    assert nearest_octave(120, 120) == 120


def test_a_long_sample_is_read_no_further_than_needed(sample, monkeypatch):
    wanted = []
    real = audio.read
    monkeypatch.setattr(audio, "read", lambda path, start, length: wanted.append(length) or real(path, start, length))
    fill(sample(tone(440, 20, RATE), 120), 120, RATE, np.random.default_rng(0))
    assert wanted == [round(1.5 * RATE) + 1]
