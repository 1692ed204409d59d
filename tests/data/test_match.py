from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tfswa_unet.data.mixing import KEY_DISTANCES, Matches
from tfswa_unet.data.tempo_key import Key, TempoKey


def fits(a: TempoKey, b: TempoKey, tolerance: float = 0.06, distance: int = 1) -> bool:
    both = [Matches(pair, tolerance, distance).of(0)[1] for pair in ([a, b], [b, a])]
    assert both[0] == both[1]
    return bool(both[0])


KEYS = [Key(tonic, minor) for tonic, minor in product(range(12), (False, True))]


def distance(a: Key, b: Key) -> int:
    """Steps by a walk on the circle: a fifth up or down, or over to the relative key."""
    seen, steps = {(a.tonic, a.minor)}, 0
    while (b.tonic, b.minor) not in seen:
        seen |= {((tonic + by) % 12, minor) for tonic, minor in seen for by in (5, 7)} | {
            ((tonic + (3 if minor else 9)) % 12, not minor) for tonic, minor in seen
        }
        steps += 1
    return steps


@pytest.mark.parametrize("allowed", KEY_DISTANCES)
def test_keys_match_within_so_many_steps_on_the_circle(allowed):
    tempo_keys = [TempoKey(100, key) for key in KEYS]
    matches = Matches(tempo_keys, 0.06, allowed)
    for k, key in enumerate(KEYS):
        expected = [other != key and distance(key, other) <= allowed for other in KEYS]
        np.testing.assert_array_equal(matches.of(k), expected)


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (120, 120, True),
        (120, 127, True),
        (120, 128, False),
        (60, 120, True),
        (64, 122, True),
        (240, 58, True),
        (90, 120, False),
    ],
)
def test_tempos_match_within_the_tolerance_in_any_octave(a, b, alike):
    key = Key(0, False)
    assert fits(TempoKey(a, key), TempoKey(b, key)) == alike


def test_what_is_not_known_fits_and_no_song_goes_with_itself():
    c, f_sharp = Key(0, False), Key(6, False)
    assert fits(TempoKey(None, c), TempoKey(97, c))
    assert not fits(TempoKey(None, c), TempoKey(97, f_sharp))
    assert fits(TempoKey(120, None), TempoKey(120, f_sharp))
    assert not fits(TempoKey(120, None), TempoKey(90, c))
    assert not Matches([TempoKey(120, c), TempoKey(120, c)], 0.06, 1).of(1)[1]
