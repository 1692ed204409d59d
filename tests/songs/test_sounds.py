import numpy as np
import pytest

from tfswa_unet.songs.sounds import (
    HOP,
    PASS,
    Room,
    Wavetable,
    control_points,
    cut,
    hertz,
    impulse,
    noise,
    pan,
    partials,
    phase,
    place,
    smooth,
    upsample,
    widen,
)

RATE = 44_100


def power(sound):
    return np.abs(np.fft.rfft(sound * np.blackman(len(sound)))) ** 2


def test_upsample_equals_linear_interpolation():
    length = 1000
    control = np.random.default_rng(0).standard_normal(control_points(length))
    expected = np.interp(np.arange(length), np.arange(len(control)) * HOP, control)
    np.testing.assert_allclose(upsample(control, length), expected, atol=1e-5)


def test_smooth_rounds_off_a_step_and_arrives():
    rate, step = 44_100, np.repeat([0.0, 1.0], 1000)
    round_off = smooth(step, 0.05, rate)
    half = np.argmax(round_off > 0.5) - 1000
    assert 0.02 < half * HOP / rate < 0.08
    assert np.all(np.diff(round_off) >= -1e-12)
    assert abs(round_off[-1] - 1) < 1e-6


def test_smooth_starts_settled():
    np.testing.assert_allclose(smooth(np.full((2, 50), 7.0), 0.1, 44_100), 7.0)


def test_place_drops_what_lies_outside():
    for start in range(-6, 9):
        bus, sound = np.zeros(5, np.float32), np.arange(1, 5, dtype=np.float32)
        place(bus, sound, start, 2)
        expected = [2 * sound[k - start] if 0 <= k - start < 4 else 0 for k in range(5)]
        assert bus.tolist() == expected


def test_place_adds_to_both_channels():
    bus = np.ones((2, 4), np.float32)
    place(bus, np.array([[1, 2], [3, 4]], np.float32), 1)
    assert bus.tolist() == [[1, 2, 3, 1], [1, 4, 5, 1]]


def test_cut_ends_at_zero_and_leaves_the_sound_alone():
    sound = np.ones(100, np.float32)
    short = cut(sound, 60, 20)
    assert len(short) == 60
    assert (short[:40] == 1).all()
    assert abs(short[-1]) < 1e-6
    assert (sound == 1).all()
    assert (cut(sound, 60, 0) == 1).all()


def test_hertz_of_concert_pitch_and_an_octave():
    assert hertz(69) == 440
    assert hertz(57) == pytest.approx(220)


def test_partials_equal_the_sum_of_decaying_sines():
    rng = np.random.default_rng(0)
    frequency, amplitude = rng.uniform(50, 15_000, 20), rng.uniform(0, 1, 20)
    decay, angle = rng.uniform(0.05, 2, 20), rng.uniform(0, 6, 20)
    decay[0] = np.inf
    time = np.arange(30_001) / RATE
    sines = np.sin(2 * np.pi * frequency[:, None] * time + angle[:, None]) * np.exp(-time / decay[:, None])
    found = partials(frequency, amplitude, decay, angle, len(time), RATE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, amplitude @ sines, atol=5e-5)


def test_partials_above_the_pass_band_are_left_out():
    one = np.ones(1)
    assert not partials(one * 20_000, one, one, 0 * one, 1000, RATE).any()


def test_wavetable_equals_its_fourier_series():
    amplitude, angle = np.array([1.0, 0.5, 0.25]), np.array([0.1, 0.2, 0.3])
    length, f0 = 8000, 187.3
    turn = phase(np.full(length, f0, np.float32), RATE)
    found = Wavetable(amplitude, angle, RATE)(turn, np.full(control_points(length), f0))
    cycles = turn / 2**32
    expected = sum(
        a * np.cos(2 * np.pi * (k + 1) * cycles + p) for k, (a, p) in enumerate(zip(amplitude, angle, strict=True))
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_phase_runs_at_the_asked_frequency():
    turn = phase(np.full(RATE, 441.0, np.float32), RATE)
    steps = np.diff(turn.astype(np.int64)) % 2**32
    assert steps.sum() / 2**32 == pytest.approx(441 * (RATE - 1) / RATE, rel=1e-6)


@pytest.mark.parametrize("f0", [110.0, 1000.0, 3000.0])
def test_a_sawtooth_does_not_alias(f0):
    length = 2 * RATE
    saw = Wavetable(1 / np.arange(1, 400), np.zeros(399), RATE)
    spectrum = power(saw(phase(np.full(length, f0, np.float32), RATE), np.full(control_points(length), f0)))
    order = np.arange(len(spectrum)) / 2 / f0
    harmonic = np.abs(order - np.round(order)) * f0 < 4
    assert 10 * np.log10(spectrum[~harmonic].sum() / spectrum[harmonic].sum()) < -50
    assert spectrum[int(2 * PASS * RATE) + 20 :].sum() < 1e-5 * spectrum.sum()


def test_noise_is_white_with_unit_variance():
    sound = noise(np.random.default_rng(0), 100_000)
    assert sound.var() == pytest.approx(1, abs=0.02)
    assert abs(sound.mean()) < 0.02
    assert abs(np.corrcoef(sound[1:], sound[:-1])[0, 1]) < 0.02


def test_a_room_decays_by_60_db_in_its_time():
    response = impulse(Room(1.0, 0.02, 0.999), np.random.default_rng(0), RATE)
    assert not response[:, : int(0.02 * RATE)].any()
    np.testing.assert_allclose(np.square(response).sum(axis=1), 1, rtol=1e-4)
    left = np.cumsum(np.square(response[0])[::-1])[::-1]  # Schroeder's backward integration
    level = 10 * np.log10(left / left[0])
    at = [np.argmax(level < drop) / RATE for drop in (-15, -35)]
    assert 3 * (at[1] - at[0]) == pytest.approx(1.0, rel=0.12)


def test_pan_and_width():
    mono = np.random.default_rng(0).standard_normal(4410).astype(np.float32)
    for position in (-1, -0.3, 0, 1):
        assert np.square(pan(mono, position)).sum() == pytest.approx(np.square(mono).sum(), rel=1e-4)
    assert np.abs(pan(mono, 1)[0]).max() < 1e-6
    np.testing.assert_allclose(widen(mono, 0.7, 0.01, RATE).mean(axis=0), mono, atol=1e-6)
