from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.data.reading import BLOCK, is_below


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
