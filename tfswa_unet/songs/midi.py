"""MIDI songs: notes of each part, with the song's tempo and key."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tfswa_unet.data.tempo_key import Key, key_of_chroma
from tfswa_unet.errors import DataError
from tfswa_unet.songs.score import Note

DRUMS = 9  # the channel of General MIDI's drums
BASSES = range(32, 40)  # programs
LOW = 45  # MIDI number below which the median of a part lies that plays the bass, whatever its program
LONGEST = 8.0  # s of a note
FASTEST, SLOWEST = 220.0, 50.0  # bpm
# General MIDI's drum notes as pieces of `sampler.RECORDED`; all others are percussion.
DRUM_NOTES = {
    **dict.fromkeys((35, 36), "kick"),
    **dict.fromkeys((37, 38, 40), "snare"),
    39: "clap",
    **dict.fromkeys((42, 44), "hat"),
    46: "open",
    **dict.fromkeys((41, 43, 45, 47, 48, 50), "tom"),
    **dict.fromkeys((49, 52, 55, 57), "crash"),
    **dict.fromkeys((51, 53, 59), "ride"),
}


@dataclass(frozen=True)
class MidiPart:
    """Part of a MIDI song: "drums", "bass" or "other", and its notes in order."""

    stem: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class MidiSong:
    """MIDI song: length in s, tempo in bpm, key if it has a clear one, and parts."""

    seconds: float
    tempo: float
    key: Key | None
    parts: tuple[MidiPart, ...]

    def excerpt(self, start: float, seconds: float) -> MidiSong:
        """The song from `start` to `start + seconds` s; notes that begin there."""
        parts = [
            MidiPart(
                part.stem,
                tuple(replace(n, start=n.start - start) for n in part.notes if start <= n.start < start + seconds),
            )
            for part in self.parts
        ]
        return replace(self, seconds=seconds, parts=tuple(part for part in parts if part.notes))


@lru_cache(256)
def read_midi(path: Path) -> MidiSong:
    """Read a MIDI file; raises DataError where it cannot be read or has no notes."""
    import mido

    # What mido raises for files that are damaged, of tracks without a common time, or of unknown keys.
    faults = OSError, EOFError, ValueError, LookupError, TypeError, ArithmeticError, mido.KeySignatureError
    try:
        messages = list(mido.MidiFile(path, clip=True))
    except faults as error:
        raise DataError(
            f"{path} cannot be read as MIDI ({str(error) or type(error).__name__}): leave it out"
        ) from error
    parts, tempos, end = _collect(messages)
    if not parts:
        raise DataError(f"{path} holds no notes: leave it out")
    chroma = np.zeros(12)
    for part in parts:
        if part.stem != "drums":
            for note in part.notes:
                chroma[round(note.pitch) % 12] += note.seconds
    tempo = 60e6 / float(np.median(tempos or [500_000]))
    while tempo > FASTEST:
        tempo /= 2
    while tempo < SLOWEST:
        tempo *= 2
    return MidiSong(end, tempo, key_of_chroma(chroma) if chroma.any() else None, parts)


def _collect(messages: list) -> tuple[tuple[MidiPart, ...], list[int], float]:
    time, tempos = 0.0, []
    programs: dict[int, int] = {}
    sounding: dict[tuple[int, int], tuple[float, float]] = {}
    notes: dict[tuple[int, int], list[Note]] = defaultdict(list)  # by channel and program

    def end_note(channel: int, pitch: int) -> None:
        begun = sounding.pop((channel, pitch), None)
        if begun is not None:
            length = min(max(time - begun[0], 0.03), LONGEST)
            key = channel, programs.get(channel, 0)
            notes[key].append(Note(begun[0], length, float(pitch), begun[1]))

    for message in messages:
        time += message.time
        if message.type == "set_tempo" and message.tempo:
            tempos.append(message.tempo)
        elif message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            end_note(message.channel, message.note)
            if message.type == "note_on" and message.velocity:
                sounding[message.channel, message.note] = time, max(message.velocity, 20) / 127
    for channel, pitch in list(sounding):
        end_note(channel, pitch)
    parts = [
        MidiPart(_stem(channel, program, played), tuple(sorted(played, key=lambda note: note.start)))
        for (channel, program), played in sorted(notes.items())
    ]
    return tuple(parts), tempos, time


def _stem(channel: int, program: int, notes: list[Note]) -> str:
    if channel == DRUMS:
        return "drums"
    low = float(np.median([note.pitch for note in notes])) < LOW
    return "bass" if program in BASSES or low else "other"
