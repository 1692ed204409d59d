import numpy as np
import pytest

from tfswa_unet.songs.bass import BASSES, play
from tfswa_unet.songs.score import Note

RATE = 44_100


@pytest.mark.parametrize("name", BASSES)
def test_a_bass_plays_the_note_asked_for_and_rests(name):
    sound = play([Note(0.1, 0.8, 40, 1.0)], BASSES[name], np.random.default_rng(0), RATE, RATE)
    assert np.abs(sound[: round(0.09 * RATE)]).max() < 1e-3
    assert np.abs(sound[round(0.95 * RATE) :]).max() < 1e-2 * np.abs(sound).max()
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    loudest = spectrum[30:].argmax() + 30
    f0 = 440 * 2 ** ((40 - 69) / 12)
    assert abs(loudest / f0 - round(loudest / f0)) < 0.03
