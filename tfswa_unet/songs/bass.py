"""Synthetic bass: its sounds, its line and the synthesizer that plays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfswa_unet.songs.score import Note, Score
from tfswa_unet.songs.sounds import HOP, TURN, Wavetable, control_points, hertz, noise, phase, smooth, upsample

# Sixteen steps a bar: root, third, fifth, octave, seventh (approach), - holds, . rests.
LINES = {
    "whole": "r---------------",
    "halves": "r-------r---5---",
    "eighths": "r-r-r-r-r-r-r-r-",
    "push": "r--r--r---r--r--",
    "octaves": "r-o-r-o-r-o-r-o-",
    "walking": "r---3---5---7---",
    "funk": "r..ro.r...7.r.5.",
    "offbeat": "..r-..r-..r-..o-",
    "fifths": "r-----r-5-----5-",
    "sparse": "r-----......r-..",
}
SHORT_LINES = {
    "beats": "r...r...r...r...",
    "pairs": "r-..r-..r-..r-..",
    "broken": "r-..r...r-....r.",
    "tresillo": "r-.r..r-..r.r-..",
    "octave": "r-..r.o...r-..o.",
}
INTERVALS = {"r": 0, "3": 2, "5": 4, "7": -1, "o": 7}  # in scale degrees
CENTRE = 36  # MIDI number around which the root is looked for
SUB = 30  # another, below 60 Hz


@dataclass(frozen=True)
class BassSound:
    """Bass sound: spectral slopes of its dark and bright waves, envelopes in s, FM depth in turns, string noise."""

    dark: float
    bright: float
    odd: bool
    attack: float
    sweep: float  # time in which the brightness falls
    decay: float
    fm: float
    click: float


BASSES = {
    "sub": BassSound(4.0, 2.5, False, 0.008, 0.20, 3.0, 0.0, 0.0),
    "saw": BassSound(2.2, 1.0, False, 0.004, 0.25, 4.0, 0.0, 0.0),
    "square": BassSound(2.2, 1.1, True, 0.004, 0.15, 4.0, 0.0, 0.0),
    "fm": BassSound(3.5, 2.5, False, 0.003, 0.12, 0.9, 0.25, 0.02),
    "finger": BassSound(2.4, 1.5, False, 0.006, 0.18, 1.1, 0.0, 0.03),
    "pick": BassSound(1.9, 1.0, False, 0.002, 0.30, 1.3, 0.0, 0.08),
    "slap": BassSound(2.0, 0.8, False, 0.001, 0.07, 0.7, 0.0, 0.15),
}
# Over as soon as a bass drum is, which only their steady pitch and their overtones tell them from.
STABS = {
    "stab": BassSound(3.0, 1.2, True, 0.002, 0.05, 0.5, 0.0, 0.10),
    "boom": BassSound(4.0, 2.0, False, 0.002, 0.06, 0.3, 0.0, 0.05),
    "thump": BassSound(3.5, 1.5, True, 0.001, 0.04, 0.25, 0.15, 0.15),
}


def bass(score: Score, rng: np.random.Generator, rate: int, stabs: float = 0.0) -> np.ndarray:
    """Bass stem before the mix, panned to the middle; (2, t). It plays short low notes with the probability `stabs`."""
    if stabs and rng.random() < stabs:
        notes = bass_line(score, rng, float(rng.choice([SUB, CENTRE])), SHORT_LINES)
        sound = STABS[str(rng.choice(list(STABS)))]
    else:
        notes, sound = bass_line(score, rng), BASSES[score.bass]
    mono = play(notes, sound, rng, rate, round(score.seconds * rate))
    return np.stack([mono, mono])


def bass_line(
    score: Score, rng: np.random.Generator, centre: float = CENTRE, lines: Mapping[str, str] = LINES
) -> list[Note]:
    """Notes of the bass line around a MIDI number: one pattern for the verses and one for the choruses."""
    verse, chorus = (lines[str(name)] for name in rng.choice(list(lines), 2, replace=False))
    notes = []
    for bar in score.playing("bass"):
        section = score.section(bar)
        pattern = (chorus if section.chorus else verse)[: score.steps]
        root = score.chord(bar)[0]
        low = score.near(root, centre)
        step = 0
        while step < len(pattern):
            size = 1
            while step + size < len(pattern) and pattern[step + size] == "-":
                size += 1
            if pattern[step] in INTERVALS:
                pitch = low + score.pitch(root + INTERVALS[pattern[step]]) - score.pitch(root)
                start = score.time(bar, step) + abs(rng.normal(0, score.looseness))
                seconds = (size - rng.uniform(0.05, 0.3)) * score.beat / 4
                notes.append(Note(start, seconds, pitch, rng.uniform(0.7, 1.0) * (0.7 + 0.3 * section.energy)))
            step += size
    return notes


def play(notes: list[Note], sound: BassSound, rng: np.random.Generator, rate: int, length: int) -> np.ndarray:
    """Synthesize a monophonic bass line by two crossfaded wavetables, with FM and string noise; (t,)."""
    count, control = control_points(length), rate / HOP
    pitch, level, age = np.full(count, CENTRE, float), np.zeros(count), np.full(count, 1e3)
    strike = np.zeros(count)
    for note in notes:
        a, b = round(note.start * control), round((note.start + note.seconds) * control)
        pitch[a:] = note.pitch
        level[a + 1 : b] = note.velocity  # one point of silence parts equal notes
        age[a:] = np.arange(len(age[a:])) / control
        strike[a : a + round(0.006 * control)] = note.velocity
    loudness = smooth(level, max(sound.attack, 0.004), rate) * np.exp(-age / sound.decay)
    frequency = hertz(smooth(pitch, rng.choice([0.002, 0.02]), rate))
    turn = phase(upsample(frequency, length), rate)
    if sound.fm:
        depth = upsample(sound.fm * np.exp(-age / sound.sweep), length)
        modulator = np.sin((turn * np.uint32(rng.integers(1, 4))).astype(np.float32) * np.float32(2 * np.pi / TURN))
        turn = turn + (depth * modulator * np.float32(TURN)).astype(np.int64).astype(np.uint32)
    harmonics = np.arange(1, 200)
    odd = np.where(sound.odd & (harmonics % 2 == 0), 0.05, 1.0)
    angles = rng.uniform(-0.5, 0.5, len(harmonics)) - np.pi / 2
    dark = Wavetable(odd * harmonics**-sound.dark, angles, rate)(turn, frequency)
    bright = Wavetable(odd * harmonics**-sound.bright, angles, rate)(turn, frequency)
    edge = upsample(rng.uniform(0.5, 1) * np.exp(-age / sound.sweep) + rng.uniform(0, 0.25), length)
    out = (dark + edge * (bright - dark)) * upsample(loudness, length)
    if sound.click:
        out += np.float32(sound.click) * noise(rng, length) * upsample(smooth(strike, 0.002, rate), length)
    return out
