"""A singer's movements: notes become slow tracks of pitch, effort, vowel and consonant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfswa_unet.data.synthetic.envelopes import HOP, points, smooth
from tfswa_unet.data.synthetic.phonemes import CONSONANTS, VOWELS
from tfswa_unet.data.synthetic.song import Note

Syllable = tuple[str | None, str]  # consonant and vowel


@dataclass(frozen=True)
class Voice:
    """A kind of singer: MIDI centre, size of the formants, and ranges of manner drawn for each song."""

    centre: float
    size: float
    breath: tuple[float, float]
    vibrato: tuple[float, float]  # semitones
    softness: tuple[float, float]  # dB per octave that quiet singing loses in the treble


VOICES = {
    "bass": Voice(48, 0.94, (0.02, 0.06), (0.1, 0.5), (2, 5)),
    "baritone": Voice(53, 1.0, (0.02, 0.08), (0.1, 0.6), (2, 5)),
    "tenor": Voice(58, 1.04, (0.02, 0.08), (0.1, 0.7), (1, 4)),
    "alto": Voice(62, 1.12, (0.03, 0.12), (0.1, 0.6), (2, 5)),
    "soprano": Voice(67, 1.18, (0.03, 0.1), (0.2, 0.8), (2, 5)),
    "whisperer": Voice(57, 1.08, (0.15, 0.4), (0.0, 0.2), (3, 7)),
}


@dataclass(frozen=True)
class Manner:
    """How one singer sings one song: breath noise, vibrato (Hz, semitones), glide and scoop, treble lost when quiet."""

    size: float
    breath: float
    vibrato_rate: float
    vibrato_depth: float
    glide: float  # s
    scoop: float  # semitones below the first note of a phrase
    softness: float  # dB per octave
    presence: float  # dB around 3 kHz
    air: float  # dB per octave above 4 kHz


@dataclass(frozen=True)
class Performance:
    """The singer's movements at the control rate, all (t,) but the formants (5, t)."""

    pitch: np.ndarray
    effort: np.ndarray
    formants: np.ndarray  # Hz
    dull: np.ndarray  # dB
    hiss: np.ndarray
    hiss_centre: np.ndarray  # Hz
    hiss_octaves: np.ndarray


def draw_manner(voice: Voice, rng: np.random.Generator) -> Manner:
    """Draw how a kind of singer sings."""
    return Manner(
        size=voice.size * rng.uniform(0.95, 1.05),
        breath=rng.uniform(*voice.breath),
        vibrato_rate=rng.uniform(4.8, 6.6),
        vibrato_depth=rng.uniform(*voice.vibrato),
        glide=rng.uniform(0.03, 0.09),
        scoop=rng.uniform(0, 2),
        softness=rng.uniform(*voice.softness),
        presence=rng.uniform(0, 6),
        air=rng.uniform(0, 6),
    )


def perform(
    notes: list[Note], syllables: list[Syllable], manner: Manner, rng: np.random.Generator, length: int, rate: int
) -> Performance:
    """Sing notes, each on a syllable (consonant or None, vowel)."""
    count, control = points(length), rate / HOP
    pitch, sway, effort = np.full(count, notes[0].pitch if notes else 60.0), np.zeros(count), np.zeros(count)
    formants, dull = np.repeat(np.array(VOWELS["ʌ"].formants)[:, None], count, axis=1), np.zeros(count)
    hiss, hiss_centre, hiss_octaves = np.zeros(count), np.full(count, 4000.0), np.ones(count)
    free = 0  # the control point at which the note before ended
    for note, (consonant, vowel) in zip(notes, syllables, strict=True):
        a, b = round(note.start * control), round((note.start + note.seconds) * control)
        voiced = a
        if consonant:
            sound = CONSONANTS[consonant]
            burst = a + round(sound.closure * control)
            voiced = min(burst + round(sound.seconds * control), (a + b) // 2)
            hiss[burst:voiced] = sound.level * note.velocity
            hiss_centre[free:voiced], hiss_octaves[free:voiced] = sound.centre * rng.uniform(0.9, 1.1), sound.octaves
        pitch[a:] = note.pitch
        if a - free > 0.15 * control:
            pitch[free : voiced + round(0.03 * control)] = note.pitch - manner.scoop
        effort[voiced + 1 : max(voiced, b - round(0.02 * control))] = note.velocity * rng.uniform(0.9, 1.0)
        sway[a + round(0.22 * control) : b] = note.seconds > 0.4
        formants[:, free:] = np.array(VOWELS[vowel].formants)[:, None]
        dull[free:] = VOWELS[vowel].dull
        free = b
    shake = np.sin(2 * np.pi * manner.vibrato_rate * np.arange(count) / control + rng.uniform(0, 6))
    drift = 0.9 * smooth(rng.standard_normal(count), 0.15, rate)
    return Performance(
        pitch=smooth(pitch, manner.glide, rate) + manner.vibrato_depth * smooth(sway, 0.2, rate) * shake + drift,
        effort=smooth(effort, 0.03, rate),
        formants=smooth(formants, 0.06, rate) * manner.size,
        dull=smooth(dull, 0.06, rate),
        hiss=smooth(hiss, 0.006, rate),
        hiss_centre=hiss_centre,
        hiss_octaves=hiss_octaves,
    )
