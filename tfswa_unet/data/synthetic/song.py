"""The plan of a song: what every player reads before a sample is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from tfswa_unet.data.synthetic.room import Room

STEMS = ("vocals", "drums", "bass", "other")
STEPS = 4  # steps of the rhythmic grid in a beat


@dataclass(frozen=True)
class Note:
    """One note: start and length in seconds, pitch as a (fractional) MIDI number, velocity in (0, 1]."""

    start: float
    seconds: float
    pitch: float
    velocity: float


@dataclass(frozen=True)
class Section:
    """A run of bars in which the same stems play at the same energy in [0, 1]."""

    first: int
    bars: int
    chorus: bool
    energy: float
    active: frozenset[str]


@dataclass(frozen=True)
class Strip:
    """A stem's place on the mixing desk: level, reverb send and spectral tilt in dB, saturation in [0, 1]."""

    level: float
    send: float
    tilt: float
    drive: float


@dataclass(frozen=True)
class Song:
    """Everything that the stems of a song share, and the name of each player's sound."""

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
        """Start in seconds of a grid step, swing included."""
        late = self.swing if round(step) % 2 else 0.0
        return (bar * self.beats + (step + late) / STEPS) * self.beat

    def section(self, bar: int) -> Section:
        """The section that a bar belongs to."""
        return next(section for section in reversed(self.sections) if section.first <= bar)

    def playing(self, stem: str) -> list[int]:
        """The bars in which a stem plays."""
        return [bar for bar in range(self.bars) if stem in self.section(bar).active]

    def chord(self, bar: int) -> tuple[int, ...]:
        """The scale degrees of a bar's chord, its root first."""
        section = self.section(bar)
        degrees = self.chorus if section.chorus else self.verse
        degree = degrees[(bar - section.first) % len(degrees)]
        return tuple(degree + third for third in ((0, 2, 4, 6) if self.seventh else (0, 2, 4)))

    def pitch(self, degree: int) -> float:
        """MIDI number of a scale degree, counted from the tonic over as many octaves as it takes."""
        octave, step = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[step]

    def near(self, degree: int, centre: float) -> float:
        """MIDI number of a degree in the octave around `centre`."""
        pitch = self.pitch(degree)
        return pitch + 12 * round((centre - pitch) / 12)

    def voicing(self, bar: int, centre: float) -> list[float]:
        """A bar's chord as MIDI numbers in the octave around `centre`, ascending: voice leading for free."""
        return sorted(self.near(degree, centre) for degree in self.chord(bar))
