"""The singers: a lead in the middle, at times doubled or in harmony at the sides, at times with an echo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfswa_unet.data.synthetic.envelopes import place, smooth
from tfswa_unet.data.synthetic.melody import harmony, melody
from tfswa_unet.data.synthetic.phonemes import CONSONANTS, VOWELS
from tfswa_unet.data.synthetic.room import pan
from tfswa_unet.data.synthetic.singing import VOICES, Performance, Syllable, draw_manner, perform
from tfswa_unet.data.synthetic.song import Song
from tfswa_unet.data.synthetic.voice import mouth, source


def vocals(song: Song, rng: np.random.Generator, rate: int) -> np.ndarray:
    """The stem of the voices before the desk; (2, t)."""
    length, voice = round(song.seconds * rate), VOICES[song.voice]
    manner = draw_manner(voice, rng)
    notes = melody(song, "vocals", voice.centre + rng.uniform(-3, 3), rng)
    syllables = [_syllable(rng) for _ in notes]
    lead = perform(notes, syllables, manner, rng, length, rate)
    voices, places, gains = [source(lead, manner, rng, length, rate)], [0.0], [1.0]
    if rng.random() < 0.35:
        for side in (-1, 1):
            voices.append(source(_double(lead, rng, rate), manner, rng, length, rate))
            places.append(side * rng.uniform(0.4, 1.0))
            gains.append(rng.uniform(0.15, 0.4))
    if rng.random() < 0.3:
        upper = perform(harmony(song, notes, int(rng.choice([2, -3, 4]))), syllables, manner, rng, length, rate)
        voices.append(source(upper, manner, rng, length, rate))
        places.append(rng.uniform(-0.7, 0.7))
        gains.append(rng.uniform(0.25, 0.6))
    out = np.zeros((2, length), np.float32)
    for sound, position, gain in zip(mouth(voices, lead, manner, rng, rate), places, gains, strict=True):
        out += pan(sound, position) * np.float32(gain)
    if rng.random() < 0.25:
        _echo(out, song.beat * float(rng.choice([0.5, 0.75, 1.0])), rng.uniform(0.1, 0.35), rate)
    return out


def _syllable(rng: np.random.Generator) -> Syllable:
    consonant = str(rng.choice(list(CONSONANTS))) if rng.random() < 0.65 else None
    return consonant, str(rng.choice(list(VOWELS)))


def _double(lead: Performance, rng: np.random.Generator, rate: int) -> Performance:
    drift = smooth(rng.standard_normal(len(lead.pitch)), 0.3, rate)
    return replace(lead, pitch=lead.pitch + rng.uniform(-0.08, 0.08) + 2 * drift)


def _echo(out: np.ndarray, seconds: float, gain: float, rate: int) -> None:
    """Three repeats that change sides."""
    dry = out.copy()
    for k in range(1, 4):
        place(out, dry[:: -1 if k % 2 else 1], round(k * seconds * rate), gain**k)
