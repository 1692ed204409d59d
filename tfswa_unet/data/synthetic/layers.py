"""What the accompaniment plays: each layer writes its notes for one kind of instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tfswa_unet.data.synthetic.song import Note, Song

# Sixteen steps a bar: x strikes and - holds.
RHYTHMS = (
    "x---------------",
    "x-------x-------",
    "x---x---x---x---",
    "x-x-x-x-x-x-x-x-",
    "x--x--x---x--x--",
    "x.....x.....x...",
    "..x-..x-..x-..x-",
    "x--x..x-x.x-..x-",
    "x-----x---x-x---",
    "x.xxx.xxx.xxx.xx",
)
FIGURES = ((0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 2, 3, 2, 1), (0, 2, 1, 3), (0, 3, 1, 3, 2, 3), (0, 1, 2))


@dataclass(frozen=True)
class Layer:
    """A kind of part: who writes it, and the timbres that may play it."""

    write: Callable[[Song, np.random.Generator], list[Note]]
    timbres: tuple[str, ...]


def _bars(song: Song, rng: np.random.Generator) -> Iterator[int]:
    """The bars of the accompaniment in which one layer takes part; the first section that has any is among them."""
    bars = song.playing("other")
    first = song.section(bars[0]).first
    resting = {section.first for section in song.sections if rng.random() < 0.2} - {first}
    return (bar for bar in bars if song.section(bar).first not in resting)


def sustain(song: Song, rng: np.random.Generator) -> list[Note]:
    """Held chords, one a bar."""
    centre, bar_seconds = rng.uniform(54, 70), song.beat * song.beats
    doubled = [12] if rng.random() < 0.3 else []
    return [
        Note(song.time(bar, 0), bar_seconds, pitch + up, 0.8)
        for bar in _bars(song, rng)
        for pitch in song.voicing(bar, centre)
        for up in [0, *doubled]
    ]


def _struck(song: Song, rng: np.random.Generator, rhythm: str) -> Iterator[tuple[int, float, float, float]]:
    """Bar, start, length and velocity of every stroke of a rhythm."""
    for bar in _bars(song, rng):
        pattern = rhythm[: song.steps]
        for step, sign in enumerate(pattern):
            if sign == "x":
                held = len(pattern[step + 1 :]) - len(pattern[step + 1 :].lstrip("-"))
                accent = 1.0 if step % 4 == 0 else 0.8
                start = song.time(bar, step) + abs(rng.normal(0, song.looseness))
                yield bar, start, (1 + held) * song.beat / 4 * 0.95, accent * rng.uniform(0.75, 1.0)


def comp(song: Song, rng: np.random.Generator) -> list[Note]:
    """Chords struck in rhythm."""
    centre, rhythm = rng.uniform(52, 67), str(rng.choice(RHYTHMS))
    return [
        Note(start, seconds, pitch, velocity)
        for bar, start, seconds, velocity in _struck(song, rng, rhythm)
        for pitch in song.voicing(bar, centre)
    ]


def strum(song: Song, rng: np.random.Generator) -> list[Note]:
    """Six-string chords whose strings follow one another, upwards on the offbeat."""
    centre, rhythm, spread = rng.uniform(48, 55), str(rng.choice(RHYTHMS[2:])), rng.uniform(0.004, 0.018)
    notes = []
    for bar, start, seconds, velocity in _struck(song, rng, rhythm):
        strings = song.voicing(bar, centre)
        strings = (strings + [pitch + 12 for pitch in strings])[: int(rng.integers(4, 7))]
        if velocity < 0.8:
            strings = strings[::-1]
        notes += [Note(start + k * spread, seconds, pitch, velocity) for k, pitch in enumerate(strings)]
    return notes


def power(song: Song, rng: np.random.Generator) -> list[Note]:
    """Root, fifth and octave, low."""
    rhythm = str(rng.choice(RHYTHMS))
    return [
        Note(start, seconds, song.near(song.chord(bar)[0], 45) + interval, velocity)
        for bar, start, seconds, velocity in _struck(song, rng, rhythm)
        for interval in (0, 7, 12)
    ]


def arpeggio(song: Song, rng: np.random.Generator) -> list[Note]:
    """Broken chords in eighths or sixteenths."""
    centre, figure, pace = rng.uniform(56, 76), FIGURES[rng.integers(len(FIGURES))], int(rng.choice([1, 2]))
    ring = rng.uniform(0.8, 2.5) * pace * song.beat / 4
    notes = []
    for bar in _bars(song, rng):
        chord = song.voicing(bar, centre)
        chord = [*chord, chord[0] + 12][:4]
        for k, step in enumerate(range(0, song.steps, pace)):
            pitch = chord[figure[k % len(figure)] % len(chord)]
            notes.append(Note(song.time(bar, step), ring, pitch, rng.uniform(0.7, 1.0) if k % 2 else 1.0))
    return notes


LAYERS = {
    "pad": Layer(sustain, ("pad", "strings", "organ", "pad")),
    "keys": Layer(comp, ("piano", "electric piano", "organ", "clean guitar")),
    "guitar": Layer(strum, ("clean guitar", "acoustic guitar", "acoustic guitar")),
    "power": Layer(power, ("distorted guitar",)),
    "arpeggio": Layer(arpeggio, ("pluck synth", "clean guitar", "bell", "marimba", "piano", "electric piano")),
    "stabs": Layer(comp, ("brass", "saw synth", "strings")),
}
