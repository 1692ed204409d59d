"""Tempo and key of a song."""

from __future__ import annotations

from dataclasses import dataclass

TONICS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Key:
    """A major or minor key; its tonic counts semitones above C, 0 to 11."""

    tonic: int
    minor: bool

    def __str__(self) -> str:
        return f"{TONICS[self.tonic]} {'minor' if self.minor else 'major'}"

    @property
    def fifths(self) -> int:
        """Where the key lies on the circle of fifths, 0 to 11 from C major and A minor on."""
        major = self.tonic + 3 if self.minor else self.tonic
        return 7 * major % 12


@dataclass(frozen=True)
class Music:
    """The tempo of a song in bpm and its key; None where it has no clear one."""

    tempo: float | None
    key: Key | None
