from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, hilbert, sosfiltfilt, welch

from tfswa_unet.songs.score import Note
from tfswa_unet.songs.voice import (
    CONSONANTS,
    VOICES,
    VOWELS,
    SingingStyle,
    draw_style,
    filter_vocal_tract,
    glottal_source,
    perform,
)

RATE = 44_100
PLAIN = SingingStyle(
    size=1, breath=0, vibrato_rate=5.5, vibrato_depth=0, glide=0.05, scoop=0, softness=0, presence=0, air=0
)


def sing(notes, syllables, style=PLAIN, seconds=2.0):
    rng, length = np.random.default_rng(0), round(seconds * RATE)
    performance = perform(notes, syllables, style, rng, length, RATE)
    return filter_vocal_tract([glottal_source(performance, style, rng, length, RATE)], performance, style, rng, RATE)[0]


def pitch_track(sound, low, high):
    """Instantaneous frequency in Hz of the fundamental, isolated by a band-pass."""
    fundamental = sosfiltfilt(butter(4, [low, high], "bandpass", fs=RATE, output="sos"), sound)
    return np.diff(np.unwrap(np.angle(hilbert(fundamental)))) * RATE / (2 * np.pi)


def test_vibrato_has_the_asked_rate_and_depth():
    style = replace(PLAIN, vibrato_depth=0.5)
    track = pitch_track(sing([Note(0, 3.0, 57, 1.0)], [(None, "a")], style, 3.0), 170, 270)
    cents = 1200 * np.log2(track[round(0.8 * RATE) : round(2.8 * RATE)] / 220)
    spectrum = np.abs(np.fft.rfft((cents - cents.mean()) * np.hanning(len(cents)), 2**20))
    rates = np.fft.rfftfreq(2**20, 1 / RATE)
    band = (rates > 2) & (rates < 20)
    assert rates[band][spectrum[band].argmax()] == pytest.approx(5.5, abs=0.4)
    fit = np.exp(-2j * np.pi * rates[band][spectrum[band].argmax()] * np.arange(len(cents)) / RATE)
    assert 2 * abs((cents * fit).mean()) == pytest.approx(50, abs=15)


def test_without_vibrato_the_pitch_is_the_note_s():
    track = pitch_track(sing([Note(0, 2.0, 57, 1.0)], [(None, "a")]), 170, 270)[RATE // 2 : -RATE // 2]
    assert np.median(track) == pytest.approx(220, rel=0.01)


def test_the_pitch_glides_between_notes():
    tune = perform(
        [Note(0, 1, 57, 1), Note(1, 1, 64, 1)], [(None, "a")] * 2, PLAIN, np.random.default_rng(0), 2 * RATE, RATE
    )
    assert np.abs(np.diff(tune.pitch)).max() < 0.4  # semitones within 1.5 ms; the step itself is 7
    assert tune.pitch[-100] == pytest.approx(64, abs=0.5)


@pytest.mark.parametrize("size", [1.0, 1.15])
@pytest.mark.parametrize("vowel", ["a", "i", "u", "æ"])
def test_a_vowel_s_formants_stand_out_of_its_spectrum(vowel, size):
    # Breath alone, so that the spectrum shows the mouth and no harmonics.
    rng, length = np.random.default_rng(0), 4 * RATE
    style = replace(PLAIN, size=size)
    tract = perform([Note(0, 4.0, 57, 1.0)], [(None, vowel)], style, rng, length, RATE)
    sound = filter_vocal_tract([rng.standard_normal(length).astype(np.float32)], tract, style, rng, RATE)[0]
    frequency, power = welch(sound[RATE // 2 :], RATE, nperseg=2048)
    for formant in VOWELS[vowel].formants[:2]:
        near = np.abs(frequency - formant * size) < 0.2 * formant
        peak = frequency[near][power[near].argmax()]
        assert peak == pytest.approx(formant * size, abs=0.06 * formant + 25)


@pytest.mark.parametrize("consonant", ["s", "ʃ", "k"])
def test_a_consonant_is_noise_around_its_frequency(consonant):
    sound, word = CONSONANTS[consonant], 0.4
    notes = [Note(word * k, word, 45, 1.0) for k in range(10)]
    sung = sing(notes, [(consonant, "u")] * 10, seconds=4.0)
    starts = [round((note.start + sound.closure) * RATE) for note in notes]
    bursts = np.stack([sung[start : start + round(sound.seconds * RATE)] for start in starts])
    power = (np.abs(np.fft.rfft(bursts * np.hanning(bursts.shape[1]), 8192)) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(8192, 1 / RATE)
    treble = frequency > 600  # the vowel before is still fading below
    within = treble & (np.abs(np.log2(np.maximum(frequency, 1) / sound.centre)) < sound.octaves)
    assert power[within].sum() > 0.7 * power[treble].sum()


def test_rests_are_silent_and_notes_do_not_click():
    notes = [Note(0.0, 0.5, 57, 1.0), Note(1.2, 0.6, 60, 1.0)]
    sound = sing(notes, [(None, "a")] * 2)
    peak = np.abs(sound).max()
    assert np.abs(sound[round(0.75 * RATE) : round(1.15 * RATE)]).max() < 1e-3 * peak
    treble = np.abs(sosfiltfilt(butter(4, 12_000, "highpass", fs=RATE, output="sos"), sound))
    steady = treble[round(0.2 * RATE) : round(0.4 * RATE)].max()
    edges = [
        treble[: RATE // 20],
        treble[round(0.47 * RATE) : round(0.7 * RATE)],
        treble[round(1.15 * RATE) : round(1.3 * RATE)],
    ]
    assert max(edge.max() for edge in edges) < 2 * steady


def test_a_song_that_begins_with_a_note_begins_at_zero():
    tune = perform([Note(0, 1, 57, 1.0)], [(None, "a")], PLAIN, np.random.default_rng(0), RATE, RATE)
    assert tune.effort[0] == 0
    assert np.abs(np.diff(tune.effort)).max() < 0.1


@pytest.mark.parametrize("name", VOICES)
def test_every_voice_sings(name):
    style = draw_style(VOICES[name], np.random.default_rng(1))
    sound = sing([Note(0.1, 1.5, VOICES[name].centre, 1.0)], [("s", "a")], style)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.1


def test_nobody_sings_an_empty_song():
    assert not sing([], []).any()
