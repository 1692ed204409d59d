"""Mixdown against closed forms: gains of filters and of dynamics in dB, and what stays as it was."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from tfswa_unet.songs.mixdown import (
    Bell,
    Compression,
    apply_strip,
    compress,
    compression_gain,
    glue,
    loudness,
    overlap_add,
    room_spectrum,
    saturate,
    sidechain,
    stereo_width,
)
from tfswa_unet.songs.score import Strip
from tfswa_unet.songs.sounds import HOP, Room, impulse

RATE = 44_100
DRY = Strip(0, -200, 0, 0)  # level 0 dB, next to no room, no tilt, no drive


def level(audio):
    """Decibels of a gain."""
    return 20 * np.log10(np.abs(audio))


def signs(seconds, seed=0):
    """Random signs (2, t), the same in both channels: every peak is at the mean level, exactly."""
    return np.tile(np.random.default_rng(seed).choice([-1, 1], round(seconds * RATE)).astype(np.float32), (2, 1))


@pytest.fixture(scope="module")
def room():
    return room_spectrum(impulse(Room(0.3, 0.01, 0.5), np.random.default_rng(0), RATE))


def test_blockwise_filtering_equals_convolution():
    rng = np.random.default_rng(0)
    sound, response = rng.standard_normal((2, 10_000)), rng.standard_normal((2, 200))
    spectrum = np.fft.rfft(response, 1024)[:, None]
    found = overlap_add(sound, 1024, lambda spectra: spectra * spectrum)
    np.testing.assert_allclose(found, fftconvolve(sound, response, axes=1)[:, :10_000], atol=1e-9)


def test_the_spectrum_of_a_room_leaves_space_for_its_tail():
    response = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    spectrum = room_spectrum(response)
    assert spectrum.shape == (2, 2049)
    np.testing.assert_allclose(np.fft.irfft(spectrum)[:, :1000], response, atol=1e-5)


def test_the_desk_adds_the_room_at_the_send_s_level():
    rng = np.random.default_rng(0)
    dry = np.zeros((2, RATE), np.float32)
    dry[:, 1000:2000] = rng.standard_normal(1000)
    response = impulse(Room(0.3, 0.01, 0.5), rng, RATE)
    room = np.fft.rfft(response, 2**16).astype(np.complex64)
    near, far = (apply_strip(dry, Strip(0, send, 0, 0), room, RATE) for send in (-200, 0))
    tail = slice(2600, None)
    assert np.square(near[:, tail]).sum() < 1e-2 * np.square(near).sum()
    assert np.square(far[:, tail]).sum() > 0.2 * np.square(far).sum()


@pytest.mark.parametrize("decibels", [-12.0, 0.0, 6.0])
def test_a_strip_sets_the_loudness(room, decibels):
    noise = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    out = apply_strip(noise, Strip(decibels, -20, 0, 0.5), room, RATE)
    assert level(loudness(out, RATE)) == pytest.approx(decibels, abs=0.1)


def test_a_strip_ends_in_silence_and_lets_no_offset_through(room):
    out = apply_strip(signs(1.0) + 1, DRY, room, RATE)
    assert np.abs(out[:, -1]).max() == 0
    assert abs(out[:, RATE // 2 :].mean()) < 0.02


@pytest.mark.parametrize("bell", [Bell(1000, 6.0, 0.7), Bell(2500, -7.0, 1.5), Bell(200, 4.0, 0.4)], ids=str)
def test_a_bell_has_its_gain_at_its_centre_and_its_width_around_it(room, bell):
    click = np.zeros((2, RATE), np.float32)
    click[:, 10] = 1
    plain, belled = (np.fft.rfft(apply_strip(click, DRY, room, RATE, bells)[0]) for bells in ((), (bell,)))
    frequency = np.arange(len(plain))  # Hz, of a second
    gain = level(belled / plain)
    turn, amplitude = 1j * frequency / bell.hertz, 10 ** (bell.gain / 40)
    expected = level((turn**2 + turn * amplitude / bell.q + 1) / (turn**2 + turn / (amplitude * bell.q) + 1))
    gain += expected[20] - gain[20]  # the strip sets the loudness anew
    assert gain[round(bell.hertz)] == pytest.approx(bell.gain, abs=0.05)
    np.testing.assert_allclose(gain[20:15_000], expected[20:15_000], atol=0.1)


def test_bells_add_up(room):
    click = np.zeros((2, RATE), np.float32)
    click[:, 10] = 1
    bells = (Bell(500, 6.0, 1.0), Bell(4000, -5.0, 1.0))
    spectra = [np.fft.rfft(apply_strip(click, DRY, room, RATE, some)[0]) for some in ((), bells, bells[:1], bells[1:])]
    plain, both, first, second = (level(spectrum[500] / spectrum[4000]) for spectrum in spectra)
    assert both - plain == pytest.approx(first - plain + second - plain, abs=0.01)


@pytest.mark.parametrize(("ratio", "threshold"), [(4.0, -6.0), (2.0, -12.0), (1.5, -3.0)])
def test_what_is_over_the_threshold_is_reduced_by_the_ratio(ratio, threshold):
    audio = signs(2.0)
    audio[:, RATE:] *= np.float32(10 ** (-30 / 20))  # softer than the threshold, and no part of the mean level
    out = compress(audio, Compression(threshold, ratio, 0.05), RATE)
    loud, soft = slice(RATE // 2, RATE - 100), slice(RATE + RATE // 2, 2 * RATE - 100)
    expected = threshold * (1 - 1 / ratio)  # threshold/ratio instead of threshold
    np.testing.assert_allclose(level(out[:, loud] / audio[:, loud]), expected, atol=0.01)
    np.testing.assert_allclose(level(out[:, soft] / audio[:, soft]), 0, atol=0.01)


def test_what_is_under_the_threshold_stays():
    audio = signs(0.5)
    np.testing.assert_array_equal(compress(audio, Compression(3.0, 4.0, 0.1), RATE), audio)


def test_a_ratio_of_one_changes_nothing():
    audio = np.random.default_rng(0).standard_normal((2, RATE // 2)).astype(np.float32)
    np.testing.assert_array_equal(compress(audio, Compression(-20.0, 1.0, 0.1), RATE), audio)


def test_compression_is_let_go_exponentially():
    audio, release = signs(1.5), 0.1
    audio[:, RATE // 2 :] *= np.float32(0.01)
    gain = level(compression_gain(audio, Compression(-8.0, 4.0, release), RATE))
    at = [gain[RATE // 2 + round(seconds * RATE)] for seconds in (0.03, 0.03 + release, 0.03 + 2 * release)]
    assert at[1] / at[0] == pytest.approx(np.exp(-1), rel=0.02)
    assert at[2] / at[1] == pytest.approx(np.exp(-1), rel=0.02)


def test_both_channels_are_compressed_alike():
    audio = signs(0.5)
    audio[1] *= np.float32(0.1)
    out = compress(audio, Compression(-6.0, 4.0, 0.1), RATE)
    np.testing.assert_allclose(out[0] * np.float32(0.1) * np.sign(audio[0]), out[1] * np.sign(audio[1]), rtol=1e-5)
    assert np.abs(out[0, -100:]).max() < 0.9


def test_the_bus_gives_every_stem_the_gain_of_the_mixture():
    rng = np.random.default_rng(0)
    stems = {stem: rng.standard_normal((2, RATE)).astype(np.float32) * scale for stem, scale in (("a", 1), ("b", 0.3))}
    settings = Compression(0.0, 3.0, 0.2)
    out = glue(stems, settings, RATE)
    mixture = stems["a"] + stems["b"]
    assert list(out) == ["a", "b"]
    np.testing.assert_allclose(out["a"] + out["b"], compress(mixture, settings, RATE), atol=1e-6)
    np.testing.assert_allclose(out["b"], stems["b"] * compression_gain(mixture, settings, RATE), rtol=1e-6)
    assert level(compression_gain(mixture, settings, RATE)).min() < -1


def test_a_sidechain_ducks_by_its_depth_at_hits_and_comes_back():
    audio, trigger, depth, release = signs(2.0), np.zeros((2, 2 * RATE), np.float32), 8.0, 0.1
    hit = slice(RATE // 2, RATE // 2 + round(0.06 * RATE))
    trigger[:, hit] = 0.3 * signs(2.0, seed=1)[:, hit]
    trigger[:, : RATE // 4] = 0.1  # softer than half of the hit
    gain = level(sidechain(audio, trigger, depth, release, RATE)[0] / audio[0])
    np.testing.assert_allclose(gain[: RATE // 2 - 2 * HOP], 0, atol=1e-4)
    assert gain.min() == pytest.approx(-depth, abs=0.02)
    assert RATE // 2 < np.argmin(gain) <= hit.stop + HOP
    assert gain[hit.stop + round(release * RATE)] == pytest.approx(-depth * np.exp(-1), rel=0.1)
    assert gain[-1] == pytest.approx(0, abs=0.01)


def test_a_stem_without_hits_ducks_nothing():
    audio = signs(0.3)
    np.testing.assert_array_equal(sidechain(audio, np.zeros_like(audio), 8.0, 0.1, RATE), audio)


def test_stereo_width():
    audio = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    mono = stereo_width(audio, 0.0)
    np.testing.assert_array_equal(mono[0], mono[1])
    np.testing.assert_allclose(mono[0], audio.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(stereo_width(audio, 1.0), audio, atol=1e-6)
    wide = stereo_width(audio, 2.0)
    np.testing.assert_allclose(wide[0] - wide[1], 2 * (audio[0] - audio[1]), atol=1e-5)
    np.testing.assert_allclose(wide.mean(axis=0), audio.mean(axis=0), atol=1e-6)


def test_saturation_leaves_what_is_soft_and_holds_peaks_at_the_knee():
    audio = 0.01 * signs(0.5)
    audio[:, 5000] = 1.0
    out = saturate(audio, 1.0)
    assert np.abs(out).max() <= 3 * np.sqrt(np.square(audio).mean()) + 1e-6
    np.testing.assert_allclose(out[:, :5000], audio[:, :5000], rtol=0.05)


def test_loudness_is_that_of_the_parts_that_sound():
    audio = 0.5 * signs(2.0)
    audio[:, RATE:] *= np.float32(0.01)
    assert loudness(audio, RATE) == pytest.approx(0.5, rel=1e-5)
    assert loudness(audio[:, :100], RATE) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("seconds", [0.02, 1.0])
def test_silence_stays_silence(room, seconds):
    silence = np.zeros((2, round(seconds * RATE)), np.float32)
    settings = Compression(-6.0, 4.0, 0.1)
    results = [
        apply_strip(silence, Strip(3, -6, 4, 1.0), room, RATE, [Bell(1000, 7, 1)]),
        compress(silence, settings, RATE),
        sidechain(silence, silence, 6.0, 0.1, RATE),
        stereo_width(silence, 1.5),
        *glue({"a": silence, "b": silence}, settings, RATE).values(),
    ]
    for out in results:
        np.testing.assert_array_equal(out, silence)
