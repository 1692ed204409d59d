"""Synthetic accompaniment, the stem `other`: timbres, chords, arpeggios and leads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import butter, lfilter

from tfswa_unet.songs.score import Note, Score, melody
from tfswa_unet.songs.sounds import PASS, Wavetable, cut, hertz, noise, pan, partials, phase, place, upsample, widen
from tfswa_unet.songs.voice import VOICES, draw_style, perform

PARTIALS = 64  # of one string
HARMONICS = np.arange(1, 200)  # of a lead
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
class Timbre:
    """Additive timbre of a string, pipe or bar.

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


@dataclass(frozen=True)
class Layer:
    """Layer of the accompaniment: the function that writes its notes, and the timbres that may play them."""

    write: Callable[[Score, np.random.Generator], list[Note]]
    timbres: tuple[str, ...]


def other(score: Score, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Accompaniment stem before the mix: its layers, and a lead in some songs; (2, t)."""
    out = np.zeros((2, round(score.seconds * rate)), np.float32)
    layers = [_layer(score, name, rng, rate) for name in score.layers]
    if score.lead:
        layers.append(pan(lead(score, rng, rate), rng.uniform(-0.4, 0.4)))
    for layer in layers:
        level = np.sqrt(np.square(layer).mean()) + 1e-9
        out += layer * np.float32(10 ** (rng.uniform(-4, 2) / 20) / level)
    return out


def lead(score: Score, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Lead melody on a wavetable with a random spectrum; (t,)."""
    length, voice = round(score.seconds * rate), VOICES[str(rng.choice(list(VOICES)))]
    notes = melody(score, "other", voice.centre + rng.uniform(0, 12), rng)
    tune = perform(notes, [(None, "a")] * len(notes), draw_style(voice, rng), rng, length, rate)
    body = 10 ** (rng.uniform(-8, 8, len(HARMONICS)) / 20) * np.where(HARMONICS % 2 == 0, rng.uniform(0.1, 1), 1)
    colour = Wavetable(body * HARMONICS ** -rng.uniform(0.8, 2.0), rng.uniform(0, 2 * np.pi, len(HARMONICS)), rate)
    frequency = hertz(tune.pitch)
    return colour(phase(upsample(frequency, length), rate), frequency) * upsample(tune.effort, length)


@dataclass
class Instrument:
    """Additive synthesizer of one timbre that renders each pitch once; `longest` bounds a note, in s."""

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
        ratios = np.array(timbre.ratios) if timbre.ratios else np.arange(1.0, PARTIALS + 1)
        amplitude = ratios**-timbre.slope * rng.uniform(0.8, 1.2, len(ratios))
        if timbre.pick:
            amplitude *= 0.1 + np.abs(np.sin(np.pi * timbre.pick * ratios))
        decay = timbre.decay * 2 ** ((60 - pitch) / 24) / ratios**timbre.damping
        cents = timbre.detune * (np.arange(timbre.strings) - (timbre.strings - 1) / 2)
        frequency = hertz(pitch + cents[:, None] / 100) * ratios * np.sqrt(1 + timbre.stretch * ratios**2)
        angle = rng.uniform(0, 2 * np.pi, frequency.shape)
        every = np.broadcast_arrays(frequency, amplitude / np.linalg.norm(amplitude), decay, angle)
        frequency, amplitude, decay, angle = (values.reshape(-1) for values in every)
        sound = partials(frequency, amplitude, decay, angle, length, rate)
        time = np.arange(length, dtype=np.float32) / rate
        sound *= 1 - np.exp(-time * np.float32(2.5 / timbre.attack))
        if timbre.knock:
            size = min(length, round(0.05 * rate))
            sound[:size] += np.float32(timbre.knock) * noise(rng, size) * np.exp(-time[:size] / np.float32(0.006))
        return sound


def sustain(score: Score, rng: np.random.Generator) -> list[Note]:
    """Sustained chords, one a bar."""
    centre, bar_seconds = rng.uniform(54, 70), score.beat * score.beats
    doubled = [12] if rng.random() < 0.3 else []
    return [
        Note(score.time(bar, 0), bar_seconds, pitch + up, 0.8)
        for bar in _bars(score, rng)
        for pitch in score.voicing(bar, centre)
        for up in [0, *doubled]
    ]


def comp(score: Score, rng: np.random.Generator) -> list[Note]:
    """Comping: chords in a rhythm."""
    centre, rhythm = rng.uniform(52, 67), str(rng.choice(RHYTHMS))
    return [
        Note(start, seconds, pitch, velocity)
        for bar, start, seconds, velocity in _struck(score, rng, rhythm)
        for pitch in score.voicing(bar, centre)
    ]


def strum(score: Score, rng: np.random.Generator) -> list[Note]:
    """Strummed guitar chords, upwards on the offbeat."""
    centre, rhythm, spread = rng.uniform(48, 55), str(rng.choice(RHYTHMS[2:])), rng.uniform(0.004, 0.018)
    notes = []
    for bar, start, seconds, velocity in _struck(score, rng, rhythm):
        strings = score.voicing(bar, centre)
        strings = (strings + [pitch + 12 for pitch in strings])[: int(rng.integers(4, 7))]
        if velocity < 0.8:
            strings = strings[::-1]
        notes += [Note(start + k * spread, seconds, pitch, velocity) for k, pitch in enumerate(strings)]
    return notes


def power_chords(score: Score, rng: np.random.Generator) -> list[Note]:
    """Power chords: root, fifth and octave in a low register."""
    rhythm = str(rng.choice(RHYTHMS))
    return [
        Note(start, seconds, score.near(score.chord(bar)[0], 45) + interval, velocity)
        for bar, start, seconds, velocity in _struck(score, rng, rhythm)
        for interval in (0, 7, 12)
    ]


def arpeggio(score: Score, rng: np.random.Generator) -> list[Note]:
    """Arpeggios in eighths or sixteenths."""
    centre, figure, pace = rng.uniform(56, 76), FIGURES[rng.integers(len(FIGURES))], int(rng.choice([1, 2]))
    ring = rng.uniform(0.8, 2.5) * pace * score.beat / 4
    notes = []
    for bar in _bars(score, rng):
        chord = score.voicing(bar, centre)
        chord = [*chord, chord[0] + 12][:4]
        for k, step in enumerate(range(0, score.steps, pace)):
            pitch = chord[figure[k % len(figure)] % len(chord)]
            notes.append(Note(score.time(bar, step), ring, pitch, rng.uniform(0.7, 1.0) if k % 2 else 1.0))
    return notes


LAYERS = {
    "pad": Layer(sustain, ("pad", "strings", "organ", "pad")),
    "keys": Layer(comp, ("piano", "electric piano", "organ", "clean guitar")),
    "guitar": Layer(strum, ("clean guitar", "acoustic guitar", "acoustic guitar")),
    "power": Layer(power_chords, ("distorted guitar",)),
    "arpeggio": Layer(arpeggio, ("pluck synth", "clean guitar", "bell", "marimba", "piano", "electric piano")),
    "stabs": Layer(comp, ("brass", "saw synth", "strings")),
}


def _layer(score: Score, name: str, rng: np.random.Generator, rate: int) -> np.ndarray:
    layer = LAYERS[name]
    timbre = TIMBRES[str(rng.choice(layer.timbres))](rng)
    notes = layer.write(score, rng)
    longest = max((note.seconds for note in notes), default=0.0)
    instrument = Instrument(timbre, rng, rate, longest)
    bus = np.zeros(round(score.seconds * rate), np.float32)
    for note in notes:
        instrument.play(bus, note)
    if timbre.drive:
        bus = _amplifier(bus, timbre.drive, rate)
    if rng.random() < 0.2:
        bus *= _tremolo(len(bus), score.beat / float(rng.choice([1, 2, 4])), rng.uniform(0.2, 0.6), rate)
    if rng.random() < 0.6:
        return widen(bus, rng.uniform(0.3, 0.9), rng.uniform(0.006, 0.018), rate)
    return pan(bus, rng.uniform(-0.7, 0.7))


def _amplifier(bus: np.ndarray, drive: float, rate: int) -> np.ndarray:
    """Overdrive between a low-pass that keeps its harmonics below Nyquist and a loudspeaker that hides the rest."""
    before = lfilter(*butter(2, [90, 2500], "bandpass", fs=rate), bus)
    level = np.sqrt(np.square(before).mean()) + 1e-9
    hot = np.tanh((drive / level) * before)
    return lfilter(*butter(2, min(4800, PASS * rate), fs=rate), hot).astype(np.float32)


def _tremolo(length: int, period: float, depth: float, rate: int) -> np.ndarray:
    time = np.arange(length, dtype=np.float32) * np.float32(2 * np.pi / (period * rate))
    return 1 - np.float32(depth / 2) * (1 + np.sin(time))


def _drawbars(rng: np.random.Generator) -> list[float]:
    pulled = [ratio for ratio in (1.5, 2, 3, 4, 5, 6, 8) if rng.random() < 0.6]
    return [0.5, 1, *pulled]


def _bars(score: Score, rng: np.random.Generator) -> Iterator[int]:
    """The bars of the accompaniment in which one layer takes part; the first section that has any is among them."""
    bars = score.playing("other")
    first = score.section(bars[0]).first
    resting = {section.first for section in score.sections if rng.random() < 0.2} - {first}
    return (bar for bar in bars if score.section(bar).first not in resting)


def _struck(score: Score, rng: np.random.Generator, rhythm: str) -> Iterator[tuple[int, float, float, float]]:
    """Bar, start, length and velocity of every stroke of a rhythm."""
    for bar in _bars(score, rng):
        pattern = rhythm[: score.steps]
        for step, sign in enumerate(pattern):
            if sign == "x":
                held = len(pattern[step + 1 :]) - len(pattern[step + 1 :].lstrip("-"))
                accent = 1.0 if step % 4 == 0 else 0.8
                start = score.time(bar, step) + abs(rng.normal(0, score.looseness))
                yield bar, start, (1 + held) * score.beat / 4 * 0.95, accent * rng.uniform(0.75, 1.0)
