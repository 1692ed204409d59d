from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.data.mixing import weighted_choice

CHANCES = np.array([0, 3, 0, 1, 4, 2, 0], float)


def frequencies(used=(), chances=CHANCES, count=8_000):
    rng = np.random.default_rng(0)
    sums = np.cumsum(chances)
    return np.bincount([weighted_choice(rng, sums, used) for _ in range(count)], minlength=len(chances)) / count


@pytest.mark.parametrize("used", [(), (1,), (4, 1), (0, 2, 5), (5, 4), (3, 4, 5)])
def test_numbers_come_as_often_as_their_chances_say(used):
    expected = CHANCES.copy()
    expected[list(used)] = 0
    expected /= expected.sum()
    found = frequencies(used)
    assert (found[expected == 0] == 0).all()
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(0.25 / 8_000))


def test_where_all_are_used_they_are_used_again():
    np.testing.assert_allclose(frequencies((1, 3, 4, 5)), CHANCES / 10, atol=0.03)


def test_rounding_never_gives_a_number_without_a_chance():
    class Highest:
        def random(self):
            return np.nextafter(1, 0)

    for size in (3, 10, 1_000):
        chances = np.full(size, 1 / 3)
        chances[-2:] = 0
        assert weighted_choice(Highest(), np.cumsum(chances), (0,)) == size - 3
