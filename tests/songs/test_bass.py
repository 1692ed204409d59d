import numpy as np
import pytest

from tfswa_unet.songs.bass import BASSES, SHORT_LINES, STABS, SUB, bass, bass_line, play
from tfswa_unet.songs.compose import compose
from tfswa_unet.songs.score import Note

RATE = 44_100


@pytest.mark.parametrize("name", [*BASSES, *STABS])
def test_a_bass_plays_the_note_asked_for_and_rests(name):
    sound = play([Note(0.1, 0.8, 40, 1.0)], {**BASSES, **STABS}[name], np.random.default_rng(0), RATE, RATE)
    assert np.abs(sound[: round(0.09 * RATE)]).max() < 1e-3
    assert np.abs(sound[round(0.95 * RATE) :]).max() < 1e-2 * np.abs(sound).max()
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    loudest = spectrum[30:].argmax() + 30
    f0 = 440 * 2 ** ((40 - 69) / 12)
    assert abs(loudest / f0 - round(loudest / f0)) < 0.03


@pytest.mark.parametrize("name", STABS)
def test_a_stab_is_over_as_soon_as_a_bass_drum_is(name):
    sound = play([Note(0.1, 0.8, 40, 1.0)], STABS[name], np.random.default_rng(0), RATE, RATE)
    energy = np.cumsum(np.square(sound, dtype=float))
    assert energy.searchsorted(0.9 * energy[-1]) < 0.6 * RATE


def test_stabs_are_short_low_notes():
    score = compose(np.random.default_rng(1), 20.0)
    notes = bass_line(score, np.random.default_rng(0), SUB, SHORT_LINES)
    assert notes
    assert all(note.seconds <= 2 * score.beat / 4 for note in notes)
    assert np.mean([note.pitch for note in notes]) < SUB + 6
    long, short = (bass(score, np.random.default_rng(2), 16_000, share) for share in (0.0, 1.0))
    assert not np.array_equal(long, short)
    assert np.mean(np.abs(short) > 0.1 * np.abs(short).max()) < np.mean(np.abs(long) > 0.1 * np.abs(long).max())
