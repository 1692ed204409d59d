"""The tune: phrases with rests, a walk on the scale that comes home to the chords."""

from __future__ import annotations

import numpy as np

from tfswa_unet.data.synthetic.song import Note, Song

STRIDES = np.array([-4, -2, -1, -1, -1, 0, 0, 1, 1, 1, 2, 4])  # in scale degrees
WALKS = {"sung": (0.5, 0.5, 1.0, 1.0, 1.5, 2.0), "fast": (0.25, 0.25, 0.5, 0.5, 0.75), "slow": (1.0, 1.5, 2.0, 3.0)}


def melody(song: Song, stem: str, centre: float, rng: np.random.Generator) -> list[Note]:
    """Write a tune around a MIDI number for the bars in which a stem plays: two-bar phrases whose rhythms return."""
    pace = WALKS[str(rng.choice(list(WALKS), p=[0.7, 0.15, 0.15]))]
    rhythms = [_rhythm(song, pace, rng) for _ in range(3)]
    home = min(range(-21, 22), key=lambda degree: abs(song.pitch(degree) - centre))
    degree, notes = home, []
    bars = song.playing(stem)
    for k, bar in enumerate(bars):
        if (bar - song.section(bar).first) % 2:
            continue
        section = song.section(bar)
        room = 2 * song.beats if bar + 1 in bars else song.beats
        beat = 0.0 if k == 0 else float(rng.choice([0, 0, 0.5, 1]))
        high = home + (2 if section.chorus else 0)
        for beats in rhythms[rng.integers(3)]:
            if beat + beats > room - 0.5 and beat:
                break
            degree = _next(song, degree, high, bar + int(beat // song.beats), strong=beat % 2 == 0, rng=rng)
            start = song.time(bar, beat * 4) + abs(rng.normal(0, 2 * song.looseness))
            notes.append(
                Note(start, beats * song.beat, song.pitch(degree), rng.uniform(0.7, 1) * (0.6 + 0.4 * section.energy))
            )
            beat += beats
    return notes


def _rhythm(song: Song, pace: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    goal, lengths = rng.uniform(0.5, 0.9) * 2 * song.beats, [float(rng.choice(pace))]
    while sum(lengths) < goal:
        lengths.append(float(rng.choice(pace)))
    return lengths


def _next(song: Song, degree: int, home: int, bar: int, *, strong: bool, rng: np.random.Generator) -> int:
    degree += int(rng.choice(STRIDES))
    if abs(degree - home) > 5:
        degree -= 3 * int(np.sign(degree - home))
    if strong:
        chord = {tone % 7 for tone in song.chord(bar)}
        degree += next(step for step in (0, 1, -1, 2, -2, 3) if (degree + step) % 7 in chord)
    return degree


def harmony(song: Song, notes: list[Note], thirds: int) -> list[Note]:
    """The same tune some scale degrees higher."""
    pitches = {round(song.pitch(degree), 3): degree for degree in range(-28, 36)}
    return [
        Note(note.start, note.seconds, song.pitch(pitches[round(note.pitch, 3)] + thirds), note.velocity)
        for note in notes
    ]
