"""Drums and cymbals, one hit at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, lfilter

from tfswa_unet.data.synthetic.envelopes import cut
from tfswa_unet.data.synthetic.oscillators import PASS, noise, partials


@dataclass(frozen=True)
class Kit:
    """What tells one drum kit from another: ranges to draw each drum from (Hz and s)."""

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


def _time(seconds: float, rate: int) -> np.ndarray:
    return np.arange(int(seconds * rate), dtype=np.float32) / rate


def _band(sound: np.ndarray, edges: float | tuple[float, float], kind: str, rate: int) -> np.ndarray:
    b, a = butter(2, np.minimum(edges, PASS * rate), kind, fs=rate)
    return lfilter(b, a, sound).astype(np.float32)


def _sweep(time: np.ndarray, end: float, ratio: float, fall: float, rate: int) -> np.ndarray:
    frequency = end * (1 + (ratio - 1) * np.exp(-time / fall))
    return np.sin(2 * np.pi * np.cumsum(frequency, dtype=np.float64) / rate).astype(np.float32)


def _finish(sound: np.ndarray, rate: int) -> np.ndarray:
    sound = cut(sound, len(sound), int(0.02 * rate))
    return (sound / np.abs(sound).max()).astype(np.float32)


def kick(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A bass drum: a falling sine and a beater; (t,)."""
    decay = rng.uniform(*kit.kick_decay)
    time = _time(6 * decay, rate)
    body = _sweep(time, rng.uniform(*kit.kick), rng.uniform(*kit.sweep), rng.uniform(0.012, 0.035), rate)
    click = _band(noise(rng, len(time)), rng.uniform(1200, 3500), "highpass", rate) * np.exp(
        -time / rng.uniform(0.002, 0.006)
    )
    mixed = body * np.exp(-time / decay) + rng.uniform(0.05, 0.35) * click
    return _finish(np.tanh(kit.drive * mixed), rate)


def snare(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A snare drum: two modes of the head and the wires' noise; (t,)."""
    decay = rng.uniform(*kit.snare_decay)
    time, mode = _time(6 * decay, rate), rng.uniform(*kit.snare)
    head = _sweep(time, mode, 1.3, 0.01, rate) + 0.6 * _sweep(time, mode * rng.uniform(1.5, 1.9), 1.2, 0.01, rate)
    wires = _band(noise(rng, len(time)), (rng.uniform(800, 2000), rng.uniform(7000, 14000)), "bandpass", rate)
    mixed = head * np.exp(-time / (0.6 * decay)) + rng.uniform(0.8, 2.0) * wires * np.exp(-time / decay)
    return _finish(np.tanh(kit.drive * mixed), rate)


def clap(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Hands: four bursts of band-passed noise, the last one long; (t,)."""
    time = _time(0.35, rate)
    gap = rng.uniform(0.008, 0.013)
    envelope = sum(
        np.where(time >= k * gap, np.exp(-np.maximum(time - k * gap, 0) / (0.05 if k == 3 else 0.004)), 0)
        for k in range(4)
    )
    return _finish(
        _band(noise(rng, len(time)), (rng.uniform(700, 1100), rng.uniform(2500, 6000)), "bandpass", rate) * envelope,
        rate,
    )


def _cymbal(kit: Kit, rng: np.random.Generator, rate: int, decay: float, low: float, count: int) -> np.ndarray:
    time = _time(5 * decay, rate)
    frequency = np.exp(rng.uniform(np.log(low), np.log(max(16000, 1.2 * low)), count))
    metal = partials(
        frequency,
        rng.uniform(0.2, 1, count),
        decay * rng.uniform(0.4, 1.3, count),
        rng.uniform(0, 6.28, count),
        len(time),
        rate,
    )
    hiss = _band(noise(rng, len(time)), low, "highpass", rate) * np.exp(-time / (0.7 * decay))
    mixed = kit.metal * metal / np.sqrt(count / 6) + (1 - kit.metal) * hiss
    return _finish(mixed * (1 - np.exp(-time / 0.0006)), rate)


def hat(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A closed hi-hat; (t,)."""
    return _cymbal(kit, rng, rate, rng.uniform(0.015, 0.05), rng.uniform(*kit.hat), 40)


def open_hat(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """An open hi-hat; (t,)."""
    return _cymbal(kit, rng, rate, rng.uniform(0.08, 0.2), rng.uniform(*kit.hat), 60)


def ride(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A ride cymbal; (t,)."""
    return _cymbal(kit, rng, rate, rng.uniform(0.15, 0.3), rng.uniform(2500, 4500), 40)


def crash(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A crash cymbal; (t,)."""
    return _cymbal(kit, rng, rate, rng.uniform(0.3, 0.55), rng.uniform(1500, 3500), 80)


def tom(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A tom of random size; (t,)."""
    decay = rng.uniform(0.09, 0.2)
    time = _time(6 * decay, rate)
    body = _sweep(time, rng.uniform(80, 210), rng.uniform(1.3, 1.8), 0.04, rate) * np.exp(-time / decay)
    stick = _band(noise(rng, len(time)), 1500, "highpass", rate) * np.exp(-time / 0.006)
    return _finish(np.tanh(kit.drive * (body + 0.15 * stick)), rate)


def shaker(kit: Kit, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A shaker: noise that swells before it stops; (t,)."""
    time = _time(0.14, rate)
    envelope = (1 - np.exp(-time / 0.015)) * np.exp(-time / rng.uniform(0.02, 0.04))
    return _finish(_band(noise(rng, len(time)), (rng.uniform(3500, 6000), 14000), "bandpass", rate) * envelope, rate)


PIECES: dict[str, Callable[[Kit, np.random.Generator, int], np.ndarray]] = {
    "kick": kick,
    "snare": snare,
    "clap": clap,
    "hat": hat,
    "open": open_hat,
    "ride": ride,
    "crash": crash,
    "tom": tom,
    "shaker": shaker,
}
