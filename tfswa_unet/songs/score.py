"""Scores of synthetic songs: notes, sections, chords and melodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from tfswa_unet.songs.sounds import Room

STEPS = 4  # steps of the rhythmic grid in a beat
STRIDES = np.array([-4, -2, -1, -1, -1, 0, 0, 1, 1, 1, 2, 4])  # in scale degrees
WALKS = {"sung": (0.5, 0.5, 1.0, 1.0, 1.5, 2.0), "fast": (0.25, 0.25, 0.5, 0.5, 0.75), "slow": (1.0, 1.5, 2.0, 3.0)}


@dataclass(frozen=True)
class Note:
    """Note: start and length in seconds, pitch as a (fractional) MIDI number, velocity in (0, 1]."""

    start: float
    seconds: float
    pitch: float
    velocity: float


@dataclass(frozen=True)
class Section:
    """Section of a song: bars in which the same stems play at one energy in [0, 1]."""

    first: int
    bars: int
    chorus: bool
    energy: float
    active: frozenset[str]


@dataclass(frozen=True)
class Strip:
    """Channel strip of a stem: level, reverb send and spectral tilt in dB, saturation in [0, 1]."""

    level: float
    send: float
    tilt: float
    drive: float


@dataclass(frozen=True)
class Score:
    """Score of a song: tempo, key, chords and sections, and the sounds and mix of its stems."""

    seconds: float
    tempo: float  # beats per minute
    beats: int  # beats in a bar
    swing: float  # delay of every second step, in steps
    looseness: float  # standard deviation of the players' timing, s
    root: float  # MIDI number of the tonic near C3; fractional, so that the tuning varies too
    scale: tuple[int, ...]  # seven steps in semitones
    verse: tuple[int, ...]  # scale degrees of the chords, one a bar
    chorus: tuple[int, ...]
    seventh: bool
    sections: tuple[Section, ...]
    voice: str
    kit: str
    groove: str
    bass: str
    layers: tuple[str, ...]
    lead: bool  # whether an instrument plays a tune of its own, in the singer's register
    room: Room
    strips: Mapping[str, Strip]

    @property
    def beat(self) -> float:
        """Length of a beat in seconds."""
        return 60 / self.tempo

    @property
    def steps(self) -> int:
        """Grid steps in a bar."""
        return self.beats * STEPS

    @property
    def bars(self) -> int:
        """Bars that begin before the song ends."""
        return max(1, ceil(self.seconds / (self.beat * self.beats)))

    def time(self, bar: int, step: float) -> float:
        """Start of a grid step in s, with swing."""
        late = self.swing if round(step) % 2 else 0.0
        return (bar * self.beats + (step + late) / STEPS) * self.beat

    def section(self, bar: int) -> Section:
        """Section of a bar."""
        return next(section for section in reversed(self.sections) if section.first <= bar)

    def playing(self, stem: str) -> list[int]:
        """Bars in which a stem plays."""
        return [bar for bar in range(self.bars) if stem in self.section(bar).active]

    def chord(self, bar: int) -> tuple[int, ...]:
        """Scale degrees of a bar's chord, root first."""
        section = self.section(bar)
        degrees = self.chorus if section.chorus else self.verse
        degree = degrees[(bar - section.first) % len(degrees)]
        return tuple(degree + third for third in ((0, 2, 4, 6) if self.seventh else (0, 2, 4)))

    def pitch(self, degree: int) -> float:
        """MIDI number of a scale degree; 7 is the tonic an octave up."""
        octave, step = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[step]

    def near(self, degree: int, centre: float) -> float:
        """MIDI number of a scale degree in the octave around `centre`."""
        pitch = self.pitch(degree)
        return pitch + 12 * round((centre - pitch) / 12)

    def voicing(self, bar: int, centre: float) -> list[float]:
        """Voicing of a bar's chord: ascending MIDI numbers in the octave around `centre`."""
        return sorted(self.near(degree, centre) for degree in self.chord(bar))


def melody(score: Score, stem: str, centre: float, rng: np.random.Generator) -> list[Note]:
    """Melody around the MIDI number `centre` in the bars of a stem: two-bar phrases with recurring rhythms."""
    pace = WALKS[str(rng.choice(list(WALKS), p=[0.7, 0.15, 0.15]))]
    rhythms = [_rhythm(score, pace, rng) for _ in range(3)]
    home = min(range(-21, 22), key=lambda degree: abs(score.pitch(degree) - centre))
    degree, notes = home, []
    bars = score.playing(stem)
    for k, bar in enumerate(bars):
        if (bar - score.section(bar).first) % 2:
            continue
        section = score.section(bar)
        room = 2 * score.beats if bar + 1 in bars else score.beats
        beat = 0.0 if k == 0 else float(rng.choice([0, 0, 0.5, 1]))
        high = home + (2 if section.chorus else 0)
        for beats in rhythms[rng.integers(3)]:
            if beat + beats > room - 0.5 and beat:
                break
            degree = _next(score, degree, high, bar + int(beat // score.beats), strong=beat % 2 == 0, rng=rng)
            start = score.time(bar, beat * 4) + abs(rng.normal(0, 2 * score.looseness))
            velocity = rng.uniform(0.7, 1) * (0.6 + 0.4 * section.energy)
            notes.append(Note(start, beats * score.beat, score.pitch(degree), velocity))
            beat += beats
    return notes


def harmony(score: Score, notes: list[Note], thirds: int) -> list[Note]:
    """Parallel harmony: a melody moved up by `thirds` scale degrees."""
    pitches = {round(score.pitch(degree), 3): degree for degree in range(-28, 36)}
    return [replace(note, pitch=score.pitch(pitches[round(note.pitch, 3)] + thirds)) for note in notes]


def _rhythm(score: Score, pace: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    goal, lengths = rng.uniform(0.5, 0.9) * 2 * score.beats, [float(rng.choice(pace))]
    while sum(lengths) < goal:
        lengths.append(float(rng.choice(pace)))
    return lengths


def _next(score: Score, degree: int, home: int, bar: int, *, strong: bool, rng: np.random.Generator) -> int:
    degree += int(rng.choice(STRIDES))
    if abs(degree - home) > 5:
        degree -= 3 * int(np.sign(degree - home))
    if strong:
        chord = {tone % 7 for tone in score.chord(bar)}
        degree += next(step for step in (0, 1, -1, 2, -2, 3) if (degree + step) % 7 in chord)
    return degree
