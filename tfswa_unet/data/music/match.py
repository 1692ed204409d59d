"""Which songs go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfswa_unet.data.music.music import Music

KEY_DISTANCES = range(8)  # steps that two keys may lie apart, 6 around the circle and one over to the relative key


class Matches:
    """The songs of alike tempo and compatible key of each of `music`, within tolerances, see `mixing.Mixing`.

    A song of which one of them is not known fits in that with every other, so that none is left out of training.
    """

    def __init__(self, music: Sequence[Music], tempo_tolerance: float, key_distance: int) -> None:
        tempos = [np.nan if each.tempo is None else each.tempo for each in music]
        self._octaves = np.log2(np.array(tempos, float))
        self._fifths = np.array([np.nan if each.key is None else each.key.fifths for each in music], float)
        self._minor = np.array([each.key is not None and each.key.minor for each in music], bool)
        self._tempo_tolerance = np.log2(1 + tempo_tolerance)
        self._key_distance = key_distance

    def of(self, track: int) -> np.ndarray:
        """Return for every song whether it goes with number `track`; no song goes with itself."""
        apart = np.abs(self._octaves - self._octaves[track]) % 1
        around = np.abs(self._fifths - self._fifths[track])
        steps = np.minimum(around, 12 - around) + (self._minor != self._minor[track])
        # What is not known is NaN, which is no more than anything.
        fits = ~(np.minimum(apart, 1 - apart) > self._tempo_tolerance) & ~(steps > self._key_distance)
        fits[track] = False
        return fits
