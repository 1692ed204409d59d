import numpy as np
import pytest

from tfswa_unet.songs.sounds import PASS, Wavetable, control_points, hertz, noise, partials, phase

RATE = 44_100


def power(sound):
    return np.abs(np.fft.rfft(sound * np.blackman(len(sound)))) ** 2


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
