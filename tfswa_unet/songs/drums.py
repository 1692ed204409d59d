"""Synthetic drums: kits, kit pieces and grooves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, lfilter

from tfswa_unet.songs.score import Score
from tfswa_unet.songs.sounds import PASS, cut, noise, pan, partials, place

# Sixteen steps a bar; the digit is the velocity in ninths.
GROOVES: dict[str, dict[str, str]] = {
    "rock": {"kick": "9.......8.7.....", "snare": "....9.......9...", "hat": "8.5.8.5.8.5.8.5."},
    "four": {
        "kick": "9...9...9...9...",
        "clap": "....8.......8...",
        "open": "..7...7...7...7.",
        "shaker": "5.3.5.3.5.3.5.3.",
    },
    "funk": {"kick": "9..7..8...7..6..", "snare": "....9..3.2..9..4", "hat": "8565856585658565"},
    "trap": {"kick": "9.....8...7.....", "snare": "........9.......", "hat": "7474777474747777"},
    "ballad": {"kick": "9.......7.......", "snare": "....7.......7...", "ride": "7...5...7...5..."},
    "bossa": {"kick": "8..68..68..68..6", "snare": "6..6..6...6..6..", "shaker": "6464646464646464"},
    "motown": {"kick": "9..7....8..7....", "snare": "8...8...8...8...", "hat": "7.7.7.7.7.7.7.7."},
    "break": {"kick": "9.8.......87....", "snare": "....9..4.4..9..5", "hat": "8.6.8.6.8.6.8.6."},
    "punk": {
        "kick": "9..89...9..89...",
        "snare": "..9...9...9...9.",
        "crash": "7...............",
        "open": "8.8.8.8.8.8.8.8.",
    },
    "train": {"kick": "9...7...9...7...", "snare": "5386538653865386", "tom": "..............4."},
}
TAKES = 2  # recordings of each drum, so that no two hits in a row are the same samples
TIMEKEEPERS = ("hat", "open", "ride", "shaker")


@dataclass(frozen=True)
class Kit:
    """Drum kit: the ranges from which the parameters of its pieces are drawn, in Hz and s."""

    kick: tuple[float, float]
    kick_decay: tuple[float, float]
    sweep: tuple[float, float]  # start of the kick's pitch over its end
    snare: tuple[float, float]
    snare_decay: tuple[float, float]
    hat: tuple[float, float]  # lower edge of the hats' band
    metal: float  # share of partials, not noise, in the cymbals
    drive: float


KITS = {
    "acoustic": Kit((48, 68), (0.07, 0.16), (1.8, 3.5), (170, 240), (0.07, 0.16), (5000, 8000), 0.5, 1.2),
    "electronic": Kit((42, 58), (0.10, 0.22), (4.0, 8.0), (160, 220), (0.05, 0.14), (6500, 9500), 0.3, 2.0),
    "808": Kit((38, 52), (0.25, 0.45), (2.0, 4.0), (180, 260), (0.04, 0.10), (7000, 10000), 0.8, 1.5),
    "dusty": Kit((52, 75), (0.06, 0.12), (1.5, 3.0), (180, 280), (0.05, 0.11), (3500, 5500), 0.4, 2.5),
}
Strike = Callable[[Kit, np.random.Generator, int], np.ndarray]


def drums(score: Score, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Drum stem before the mix: a groove with fills, each piece panned; (2, t)."""
    kit, length = KITS[score.kit], round(score.seconds * rate)
    played = list(hits(score, rng))
    side = rng.choice([-1, 1])
    takes = {}
    for name in sorted({name for name, _, _ in played}):
        piece = PIECES[name]
        gain = piece.loudness * 10 ** (rng.uniform(-3, 3) / 20)
        position = np.clip(side * piece.position * rng.uniform(0.3, 1.0), -1, 1)
        takes[name] = [pan(gain * piece.strike(kit, rng, rate), position) for _ in range(TAKES)]
    out = np.zeros((2, length), np.float32)
    for name, start, velocity in played:
        late = abs(rng.normal(0, score.looseness)) if start < score.looseness else rng.normal(0, score.looseness)
        take = takes[name][rng.integers(TAKES)]
        place(out, take, round((start + late) * rate), velocity**1.5 * rng.uniform(0.85, 1.0))
    return out


def kick(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Bass drum: a falling sine and a beater; (t,)."""
    decay = rng.uniform(*kit.kick_decay)
    time = _time(6 * decay, rate)
    body = _sweep(time, rng.uniform(*kit.kick), rng.uniform(*kit.sweep), rng.uniform(0.012, 0.035), rate)
    click = _noise(rng, time, rate, (1200, 3500)) * np.exp(-time / rng.uniform(0.002, 0.006))
    mixed = body * np.exp(-time / decay) + rng.uniform(0.05, 0.35) * click
    return _finish(np.tanh(kit.drive * mixed), rate)


def snare(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Snare drum: two modes of the head and the wires' noise; (t,)."""
    decay = rng.uniform(*kit.snare_decay)
    time, mode = _time(6 * decay, rate), rng.uniform(*kit.snare)
    head = _sweep(time, mode, 1.3, 0.01, rate) + 0.6 * _sweep(time, mode * rng.uniform(1.5, 1.9), 1.2, 0.01, rate)
    wires = _noise(rng, time, rate, (800, 2000), (7000, 14000))
    mixed = head * np.exp(-time / (0.6 * decay)) + rng.uniform(0.8, 2.0) * wires * np.exp(-time / decay)
    return _finish(np.tanh(kit.drive * mixed), rate)


def clap(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Hand clap: four bursts of band-passed noise, the last one long; (t,)."""
    time = _time(0.35, rate)
    gap = rng.uniform(0.008, 0.013)
    envelope = sum(
        np.where(time >= k * gap, np.exp(-np.maximum(time - k * gap, 0) / (0.05 if k == 3 else 0.004)), 0)
        for k in range(4)
    )
    return _finish(_noise(rng, time, rate, (700, 1100), (2500, 6000)) * envelope, rate)


def cymbal(decays: tuple[float, float], lows: tuple[float, float] | None, count: int) -> Strike:
    """Cymbal of `count` inharmonic partials and noise above `lows` Hz (None: those of the kit's hats); decays in s."""

    def strike(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
        decay, low = rng.uniform(*decays), rng.uniform(*(lows or kit.hat))
        time = _time(5 * decay, rate)
        frequency = np.exp(rng.uniform(np.log(low), np.log(max(16000, 1.2 * low)), count))
        amplitude, fall = rng.uniform(0.2, 1, count), decay * rng.uniform(0.4, 1.3, count)
        metal = partials(frequency, amplitude, fall, rng.uniform(0, 6.28, count), len(time), rate)
        hiss = _noise(rng, time, rate, low) * np.exp(-time / (0.7 * decay))
        mixed = kit.metal * metal / np.sqrt(count / 6) + (1 - kit.metal) * hiss
        return _finish(mixed * (1 - np.exp(-time / 0.0006)), rate)

    return strike


def tom(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Tom of random size; (t,)."""
    decay = rng.uniform(0.09, 0.2)
    time = _time(6 * decay, rate)
    body = _sweep(time, rng.uniform(80, 210), rng.uniform(1.3, 1.8), 0.04, rate) * np.exp(-time / decay)
    stick = _noise(rng, time, rate, 1500) * np.exp(-time / 0.006)
    return _finish(np.tanh(kit.drive * (body + 0.15 * stick)), rate)


def shaker(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Shaker: noise that swells before it stops; (t,)."""
    time = _time(0.14, rate)
    envelope = (1 - np.exp(-time / 0.015)) * np.exp(-time / rng.uniform(0.02, 0.04))
    return _finish(_noise(rng, time, rate, (3500, 6000), 14000) * envelope, rate)


@dataclass(frozen=True)
class Piece:
    """Kit piece: the function that synthesizes a stroke, its place to the side in [0, 1], and its gain."""

    strike: Strike
    position: float
    loudness: float


PIECES = {
    "kick": Piece(kick, 0.0, 1.0),
    "snare": Piece(snare, 0.1, 0.8),
    "clap": Piece(clap, 0.0, 0.6),
    "hat": Piece(cymbal((0.015, 0.05), None, 40), 0.5, 0.32),
    "open": Piece(cymbal((0.08, 0.2), None, 60), 0.5, 0.3),
    "ride": Piece(cymbal((0.15, 0.3), (2500, 4500), 40), 0.6, 0.26),
    "crash": Piece(cymbal((0.3, 0.55), (1500, 3500), 80), 0.7, 0.45),
    "tom": Piece(tom, 0.6, 0.8),
    "shaker": Piece(shaker, 0.6, 0.25),
}


def hits(score: Score, rng: np.random.Generator) -> Iterator[tuple[str, float, float]]:
    """Hits of a song's groove and its fills: piece of the kit, start in s, velocity."""
    groove = GROOVES[score.groove]
    chorus_time = str(rng.choice(TIMEKEEPERS))
    for bar in score.playing("drums"):
        section = score.section(bar)
        last = bar == section.first + section.bars - 1
        fill = score.steps - int(rng.choice([4, 8])) if last and rng.random() < 0.7 else score.steps
        if bar == section.first and section.energy > 0.6 and rng.random() < 0.8:
            yield "crash", score.time(bar, 0), 1.0
        for piece, pattern in groove.items():
            name = chorus_time if section.chorus and piece in TIMEKEEPERS else piece
            for step in range(fill):
                velocity = int(pattern[step]) / 9 if pattern[step] != "." else 0.0
                if velocity and (rng.random() > 0.06 or step == 0):
                    yield name, score.time(bar, step), velocity * (0.6 + 0.4 * section.energy)
                elif piece in ("kick", "snare") and not velocity and rng.random() < 0.04:
                    yield name, score.time(bar, step), rng.uniform(0.2, 0.5)
        for step in range(fill, score.steps):
            if rng.random() < 0.85:
                piece = str(rng.choice(["snare", "tom", "tom", "kick"]))
                yield piece, score.time(bar, step), rng.uniform(0.5, 1.0)


def _time(seconds: float, rate: int) -> np.ndarray:
    return np.arange(int(seconds * rate), dtype=np.float32) / rate


def _noise(rng: np.random.Generator, time: np.ndarray, rate: int, *edges: float | tuple[float, float]) -> np.ndarray:
    """Noise above one edge or between two, in Hz, each given or drawn from a range."""
    sound = noise(rng, len(time))
    drawn = np.minimum([rng.uniform(*edge) if isinstance(edge, tuple) else edge for edge in edges], PASS * rate)
    b, a = butter(2, drawn, "bandpass", fs=rate) if len(edges) == 2 else butter(2, drawn[0], "highpass", fs=rate)
    return lfilter(b, a, sound).astype(np.float32)


def _sweep(time: np.ndarray, end: float, ratio: float, fall: float, rate: int) -> np.ndarray:
    frequency = end * (1 + (ratio - 1) * np.exp(-time / fall))
    return np.sin(2 * np.pi * np.cumsum(frequency, dtype=np.float64) / rate).astype(np.float32)


def _finish(sound: np.ndarray, rate: int) -> np.ndarray:
    sound = cut(sound, len(sound), int(0.02 * rate))
    return (sound / np.abs(sound).max()).astype(np.float32)
