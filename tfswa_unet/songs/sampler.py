"""Sampler: notes, hits and strums played from recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tfswa_unet.songs.recordings import Chord, Instrument, Kit, load
from tfswa_unet.songs.recordings import Note as RecordedNote
from tfswa_unet.songs.score import Note, Score
from tfswa_unet.songs.sounds import pan, place
from tfswa_unet.songs.writing import RATE

FARTHEST = 9.0  # semitones that a recording is transposed at most; notes beyond go by octaves
LAYER = 24.0  # steps of velocity that count as much as a semitone
TWINS = 1.5  # of that distance within which recordings take turns
LEGATO = 0.06  # s of gap within which the next note is slurred
OVERLAP = 0.03  # s of cross-fade between slurred notes
ONSET = 0.05  # s that a slurred note leaves out
# Pieces of the procedural grooves by those that are recorded, the first that a kit has.
RECORDED = {
    "kick": ("kick",),
    "snare": ("snare", "clap"),
    "clap": ("clap", "snare"),
    "hat": ("hat", "percussion"),
    "open": ("hat", "cymbal"),
    "ride": ("cymbal", "hat"),
    "crash": ("cymbal",),
    "tom": ("tom", "percussion"),
    "shaker": ("percussion", "hat"),
}
LOUDNESS = {"kick": 1.0, "snare": 0.8, "clap": 0.55, "hat": 0.3, "cymbal": 0.35, "tom": 0.7, "percussion": 0.4}
CHOKED = {"hat": 0.12}  # s after which a stroke that is not open ends

Hit = tuple[str, float, float]  # key of `RECORDED`, start in s, velocity


@dataclass(frozen=True)
class Touch:
    """How an instrument is played: release in s, slurs between neighbouring notes, slide from the last pitch in s."""

    release: float
    legato: bool = False
    slide: float = 0.0


@dataclass
class Sampler:
    """Instrument that plays notes from its recordings, the nearest in pitch and velocity, in turns where alike."""

    instrument: Instrument
    touch: Touch
    rng: np.random.Generator
    _sounds: dict[tuple[Path, int], np.ndarray] = field(default_factory=dict)

    def play(self, bus: np.ndarray, notes: Sequence[Note]) -> None:
        """Add notes to a bus (2, t)."""
        last: Note | None = None
        for note in sorted(notes, key=lambda each: each.start):
            note = self.in_reach(note)
            slurred = self.touch.legato and last is not None and _follows(last, note)
            sound = self._sound(note, last if slurred else None)
            length = round(note.seconds * RATE)
            shaped = _shaped(sound, length, round(self.touch.release * RATE), round(OVERLAP * RATE) if slurred else 0)
            place(bus, shaped, round(note.start * RATE), note.velocity)
            last = note

    def in_reach(self, note: Note) -> Note:
        """The note, moved by octaves to where the instrument has recordings."""
        pitches = [recorded.pitch for recorded in self.instrument.notes]
        low, high = min(pitches) - FARTHEST, max(pitches) + FARTHEST
        octaves = max(0, np.ceil((low - note.pitch) / 12)) - max(0, np.ceil((note.pitch - high) / 12))
        return replace(note, pitch=note.pitch + 12 * float(octaves)) if octaves else note

    def _sound(self, note: Note, before: Note | None) -> np.ndarray:
        recorded = self._nearest(note)
        semitones = note.pitch - recorded.pitch
        if before is not None and self.touch.slide:
            return _glide(load(recorded.path), semitones, before.pitch - note.pitch, self.touch.slide)
        key = recorded.path, round(100 * semitones)
        if key not in self._sounds:
            self._sounds[key] = varispeed(load(recorded.path), semitones)
        sound = self._sounds[key]
        return sound[:, min(round(ONSET * RATE), sound.shape[1] // 4) :] if before is not None else sound

    def _nearest(self, note: Note) -> RecordedNote:
        velocity = 127 * note.velocity
        distances = [
            abs(each.pitch - note.pitch) + abs(each.velocity - velocity) / LAYER for each in self.instrument.notes
        ]
        near = [
            each for each, far in zip(self.instrument.notes, distances, strict=True) if far < min(distances) + TWINS
        ]
        # Those that are as near in pitch too take turns; another pitch would not sound like the same instrument twice.
        closest = min(near, key=lambda each: abs(each.pitch - note.pitch)).pitch
        turns = [each for each in near if abs(each.pitch - closest) < 0.5]
        return turns[int(self.rng.integers(len(turns)))]


def varispeed(sound: np.ndarray, semitones: float) -> np.ndarray:
    """Play a sound (c, t) faster or slower, so that its pitch moves by `semitones`; (c, t')."""
    if abs(semitones) < 0.01:
        return sound
    speed = 2 ** (semitones / 12)
    return _warp(sound, np.arange(int((sound.shape[1] - 1) / speed)) * speed)


def stereo(sound: np.ndarray) -> np.ndarray:
    """Both channels of a sound (1 or 2, t), without a copy; (2, t)."""
    return np.broadcast_to(sound, (2, sound.shape[1]))


def drum_track(
    hits: Iterable[Hit], seconds: float, kit: Kit, spare: Sequence[Kit], looseness: float, rng: np.random.Generator
) -> np.ndarray:
    """Hits on the recorded pieces of a kit, each panned, early or late by `looseness` s; (2, t).

    A piece that the kit lacks is taken from one of the spare kits, or left out where none has it.
    """
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    drawn: dict[str, tuple[str, list[np.ndarray]] | None] = {}
    for name, start, velocity in hits:
        if name not in drawn:
            drawn[name] = _draw_piece(name, kit, spare, rng)
        if (found := drawn[name]) is None:
            continue
        piece, takes = found
        take = takes[int(rng.integers(len(takes)))]
        if name in CHOKED:
            take = _shaped(take, round(CHOKED[name] * RATE), round(0.04 * RATE), 0)
        gain = LOUDNESS[piece] * velocity**1.3 * rng.uniform(0.85, 1.0)
        place(out, take, round(max(0.0, start + rng.normal(0, looseness)) * RATE), gain)
    return out


def strum_track(score: Score, chords: Sequence[Chord], rng: np.random.Generator) -> np.ndarray | None:
    """Recorded chords in a rhythm, each moved to the nearest root of the song's; (2, t), None where none is near."""
    out = np.zeros((2, round(score.seconds * RATE)), np.float32)
    steps = sorted({0, *rng.choice(score.steps, int(rng.integers(1, 6)), replace=False).tolist()})
    farthest, played = float(rng.uniform(1.5, 3.5)), False
    for bar in score.playing("other"):
        root, third = score.chord(bar)[:2]
        minor = round(score.pitch(third) - score.pitch(root)) == 3
        near = [
            (chord, (score.pitch(root) - chord.key.tonic + 6) % 12 - 6) for chord in chords if chord.key.minor == minor
        ]
        near = [(chord, semitones) for chord, semitones in near if abs(semitones) <= farthest]
        if not near:
            continue
        for step, following in zip(steps, [*steps[1:], score.steps], strict=True):
            chord, semitones = near[int(rng.integers(len(near)))]
            start = score.time(bar, step) + abs(rng.normal(0, score.looseness))
            sound = varispeed(load(chord.path), semitones)
            shaped = _shaped(sound, round((following - step) * score.beat / 4 * RATE), round(0.08 * RATE), 0)
            place(out, shaped, round(start * RATE), rng.uniform(0.6, 1.0))
            played = True
    return out if played else None


def _draw_piece(
    name: str, kit: Kit, spare: Sequence[Kit], rng: np.random.Generator
) -> tuple[str, list[np.ndarray]] | None:
    for piece in RECORDED[name]:
        owners = [kit] if piece in kit.pieces else [each for each in spare if piece in each.pieces]
        if owners:
            paths = owners[int(rng.integers(len(owners)))].pieces[piece]
            # Takes of one name, which ends in its number or velocity, are one drum.
            first = paths[int(rng.integers(len(paths)))]
            alike = [path for path in paths if path.stem.rstrip("0123456789") == first.stem.rstrip("0123456789")]
            semitones = float(rng.normal(0, 0.7))
            position = rng.uniform(-0.6, 0.6) if piece not in ("kick", "snare") else 0.0
            sounds = [varispeed(load(path), semitones) for path in alike[:4]]
            return piece, [pan(sound.mean(axis=0), position) if position else stereo(sound) for sound in sounds]
    return None


def _follows(last: Note, note: Note) -> bool:
    return abs(note.start - last.start - last.seconds) < LEGATO or last.start < note.start < last.start + last.seconds


def _glide(sound: np.ndarray, semitones: float, offset: float, seconds: float) -> np.ndarray:
    """Varispeed that begins `offset` semitones away and arrives within `seconds`."""
    offset = float(np.clip(offset, -12, 12))
    slowest = 2 ** (min(semitones, semitones + offset) / 12)
    time = np.arange(int(sound.shape[1] / slowest)) / RATE
    bend = semitones + offset * np.exp(-3 * time / seconds)
    positions = np.cumsum(2 ** (bend / 12))
    return _warp(sound, positions[positions < sound.shape[1] - 1])


def _warp(sound: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sound (c, t) read at fractional positions (t',), by linear interpolation."""
    whole = positions.astype(np.int64)
    share = (positions - whole).astype(np.float32)
    return sound[:, whole] * (1 - share) + sound[:, np.minimum(whole + 1, sound.shape[1] - 1)] * share


def _shaped(sound: np.ndarray, length: int, release: int, rise: int) -> np.ndarray:
    """Sound (c, t) that is released after `length` samples, and fades in over `rise` samples."""
    if sound.shape[1] <= length and not rise:
        return sound
    sound = sound[:, : length + release].copy()
    tail = sound.shape[1] - length
    if tail > 0:
        sound[:, length:] *= np.linspace(1, 0, release, dtype=np.float32)[:tail] ** 2
    if rise := min(rise, sound.shape[1]):
        sound[:, :rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    return sound
