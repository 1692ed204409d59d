"""Instruments that play chords and figures: notes are sums of decaying partials, each pitch rendered once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tfswa_unet.data.synthetic.envelopes import cut, place
from tfswa_unet.data.synthetic.oscillators import hertz, noise, partials
from tfswa_unet.data.synthetic.song import Note

MOST = 64  # partials a string


@dataclass(frozen=True)
class Timbre:
    """The sound of one string, pipe or bar, struck or blown.

    `strings` copies, each detuned by `detune` cents from the next; harmonics fall as n^−`slope`, picked at a fraction
    `pick` of the string (0 for none); `decay` in s at middle C, shorter for higher partials by n^`damping`; `attack`
    and `release` in s; `stretch` is the string's inharmonicity; `ratios` replaces the harmonic series where given;
    `knock` is the noise of the hammer.
    """

    slope: float
    decay: float = np.inf
    damping: float = 0.7
    attack: float = 0.003
    release: float = 0.08
    strings: int = 1
    detune: float = 0.0
    pick: float = 0.0
    stretch: float = 0.0
    knock: float = 0.0
    ratios: tuple[float, ...] = ()
    drive: float = 0.0  # of an amplifier that the whole layer plays through


TIMBRES: dict[str, Callable[[np.random.Generator], Timbre]] = {
    "piano": lambda r: Timbre(r.uniform(1.3, 1.9), r.uniform(1.2, 2.2), 0.6, 0.002, 0.12, 2, 3, 0.125, 4e-4, 0.05),
    "electric piano": lambda r: Timbre(
        1.2, r.uniform(1.0, 1.8), 0.9, 0.002, 0.1, knock=0.03, ratios=(1, 2, 3, 4, 7.1, 14.2)
    ),
    "clean guitar": lambda r: Timbre(
        r.uniform(0.9, 1.4), r.uniform(0.8, 1.6), 0.9, 0.002, 0.06, pick=r.uniform(0.1, 0.4), knock=0.04
    ),
    "acoustic guitar": lambda r: Timbre(
        r.uniform(0.7, 1.1), r.uniform(0.5, 1.0), 0.8, 0.001, 0.06, 2, 4, r.uniform(0.1, 0.3), 1e-4, 0.1
    ),
    "distorted guitar": lambda r: Timbre(1.0, r.uniform(2.0, 4.0), 0.6, 0.003, 0.04, pick=0.2, drive=r.uniform(4, 14)),
    "organ": lambda r: Timbre(0.0, attack=0.006, release=0.04, knock=0.02, ratios=tuple(_drawbars(r))),
    "pad": lambda r: Timbre(
        r.uniform(1.1, 2.0), attack=r.uniform(0.08, 0.5), release=0.4, strings=3, detune=r.uniform(5, 14)
    ),
    "strings": lambda r: Timbre(
        r.uniform(0.9, 1.3), attack=r.uniform(0.05, 0.2), release=0.2, strings=4, detune=r.uniform(6, 12)
    ),
    "brass": lambda r: Timbre(r.uniform(0.7, 1.2), attack=r.uniform(0.02, 0.05), release=0.07, strings=2, detune=6),
    "pluck synth": lambda r: Timbre(r.uniform(0.8, 1.2), r.uniform(0.15, 0.5), 0.6, 0.002, 0.05, 2, r.uniform(3, 12)),
    "saw synth": lambda r: Timbre(1.0, attack=0.004, release=0.06, strings=3, detune=r.uniform(8, 20)),
    "bell": lambda r: Timbre(
        0.5, r.uniform(0.8, 2.0), 0.5, 0.001, 0.5, ratios=(0.5, 1, 1.19, 1.56, 2, 2.66, 3.76, 5.4)
    ),
    "marimba": lambda r: Timbre(1.0, r.uniform(0.2, 0.5), 1.2, 0.001, 0.1, knock=0.05, ratios=(1, 3.93, 9.5)),
}


def _drawbars(rng: np.random.Generator) -> list[float]:
    pulled = [ratio for ratio in (1.5, 2, 3, 4, 5, 6, 8) if rng.random() < 0.6]
    return [0.5, 1, *pulled]


@dataclass
class Instrument:
    """Plays notes of one timbre, keeping every pitch it has rendered; `longest` bounds a note, in s."""

    timbre: Timbre
    rng: np.random.Generator
    rate: int
    longest: float
    notes: dict[float, np.ndarray] = field(default_factory=dict)

    def play(self, bus: np.ndarray, note: Note) -> None:
        """Add a note to a bus (t,)."""
        if note.pitch not in self.notes:
            self.notes[note.pitch] = self._render(note.pitch)
        release = round(self.timbre.release * self.rate)
        length = round(min(note.seconds, self.longest) * self.rate) + release
        place(bus, cut(self.notes[note.pitch], length, release), round(note.start * self.rate), note.velocity)

    def _render(self, pitch: float) -> np.ndarray:
        timbre, rng, rate = self.timbre, self.rng, self.rate
        length = round((self.longest + timbre.release) * rate)
        ratios = np.array(timbre.ratios) if timbre.ratios else np.arange(1.0, MOST + 1)
        amplitude = ratios**-timbre.slope * rng.uniform(0.8, 1.2, len(ratios))
        if timbre.pick:
            amplitude *= 0.1 + np.abs(np.sin(np.pi * timbre.pick * ratios))
        decay = timbre.decay * 2 ** ((60 - pitch) / 24) / ratios**timbre.damping
        cents = timbre.detune * (np.arange(timbre.strings) - (timbre.strings - 1) / 2)
        frequency = hertz(pitch + cents[:, None] / 100) * ratios * np.sqrt(1 + timbre.stretch * ratios**2)
        shape = (timbre.strings, len(ratios))
        sound = partials(
            frequency.reshape(-1),
            np.broadcast_to(amplitude / np.linalg.norm(amplitude), shape).reshape(-1),
            np.broadcast_to(decay, shape).reshape(-1),
            rng.uniform(0, 2 * np.pi, shape).reshape(-1),
            length,
            rate,
        )
        time = np.arange(length, dtype=np.float32) / rate
        sound *= 1 - np.exp(-time * np.float32(2.5 / timbre.attack))
        if timbre.knock:
            size = min(length, round(0.05 * rate))
            sound[:size] += np.float32(timbre.knock) * noise(rng, size) * np.exp(-time[:size] / np.float32(0.006))
        return sound
