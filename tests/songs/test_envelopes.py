import numpy as np

from tfswa_unet.songs.sounds import HOP, control_points, cut, place, smooth, upsample


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
