from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.data.tempo_key import Key, estimate_key

RATE = 11_025
MAJOR, MINOR = (0, 4, 7), (0, 3, 7)


def chord(root: int, triad, seconds: float = 1.0) -> np.ndarray:
    """A triad on a tone `root` semitones above C4, three partials a tone, (1, t)."""
    t = np.arange(round(seconds * RATE)) / RATE
    tones = [440 * 2 ** ((root - 9 + step) / 12) for step in triad]
    return sum(0.1 / k * np.sin(2 * np.pi * k * tone * t) for tone in tones for k in (1, 2, 3))[None].astype(np.float32)


def cadence(key: Key) -> np.ndarray:
    """I IV V I, in minor with the major dominant."""
    own = MINOR if key.minor else MAJOR
    chords = [(0, own), (5, own), (7, MAJOR), (0, own)]
    return np.concatenate([chord((key.tonic + root) % 12, triad) for root, triad in chords], axis=1)


KEYS = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_the_key_of_a_cadence_is_found(key):
    assert estimate_key(cadence(key), RATE) == key


@pytest.mark.parametrize("key", [Key(0, False), Key(9, True), Key(6, False)], ids=str)
def test_the_key_of_a_triad_is_found_under_noise_and_at_another_rate_and_level(key):
    triad = chord(key.tonic, MINOR if key.minor else MAJOR, 6)
    assert estimate_key(triad, RATE) == key
    hiss = 0.05 * np.random.default_rng(0).standard_normal(triad.shape).astype(np.float32)
    assert estimate_key(triad + hiss, RATE) == key
    assert estimate_key(np.repeat(1e-3 * triad, 4, axis=1), 4 * RATE) == key


def test_no_key_where_no_tone_stands_out():
    rng = np.random.default_rng(1)
    assert estimate_key(np.zeros((2, 5 * RATE), np.float32), RATE) is None
    assert estimate_key(np.zeros((1, 10), np.float32), RATE) is None
    assert estimate_key(rng.standard_normal((2, 60 * RATE)).astype(np.float32), RATE) is None
    every = np.concatenate([chord(k, (0,)) for k in range(12)], axis=1)
    assert estimate_key(every, RATE) is None


def test_the_circle_of_fifths_begins_at_c_major_and_a_minor():
    assert [key.fifths for key in (Key(0, False), Key(7, False), Key(2, False), Key(5, False))] == [0, 1, 2, 11]
    assert [key.fifths for key in (Key(9, True), Key(4, True), Key(2, True))] == [0, 1, 11]
    assert sorted(key.fifths for key in KEYS) == sorted([*range(12)] * 2)
