"""The room that all stems of a song stand in, and their place between the loudspeakers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

REFLECTIONS = 8


@dataclass(frozen=True)
class Room:
    """Reverberation time and pre-delay in seconds, and the share of the high band's decay time in the low band's."""

    decay: float
    delay: float
    brightness: float


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a room, from a booth to a hall."""
    return Room(
        decay=float(np.exp(rng.uniform(np.log(0.25), np.log(2.4)))),
        delay=rng.uniform(0, 0.03),
        brightness=rng.uniform(0.25, 0.8),
    )


def impulse(room: Room, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A room's stereo impulse response of unit energy a channel: early reflections, then decaying noise; (2, t)."""
    length, delay = int(room.decay * rate), int(room.delay * rate)
    time = np.arange(length, dtype=np.float32) / rate
    noise = rng.standard_normal((2, length), dtype=np.float32)
    share = np.float32(1 - np.exp(-2 * np.pi * 1800 / rate))
    low = lfilter(np.array([share]), np.array([1, share - 1], np.float32), noise)
    fall = np.float32(-np.log(1000) / room.decay)
    tail = low * np.exp(fall * time) + (noise - low) * np.exp(fall / np.float32(room.brightness) * time)
    tail *= np.minimum(1, time / 0.02)  # the dense part builds up while the early reflections arrive
    for channel in tail:
        at = rng.integers(0, max(1, min(length, int(0.05 * rate))), REFLECTIONS)
        channel[at] += (
            0.1
            * np.sqrt(np.square(channel).sum())
            * rng.choice([-1, 1], REFLECTIONS)
            * rng.uniform(0.3, 1, REFLECTIONS)
        )
    tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    return np.pad(tail, ((0, 0), (delay, 0))).astype(np.float32)


def pan(mono: np.ndarray, position: float) -> np.ndarray:
    """Place mono audio (t,) at a position from −1 (left) to 1 (right) at constant power; (2, t)."""
    angle = (position + 1) * np.pi / 4
    return np.stack([mono * np.float32(np.cos(angle)), mono * np.float32(np.sin(angle))])


def widen(mono: np.ndarray, amount: float, seconds: float, rate: int) -> np.ndarray:
    """Spread mono audio (t,) by a delayed copy of opposite sign on each side (Lauridsen): mono stays mono; (2, t)."""
    late = np.zeros_like(mono)
    shift = max(1, int(seconds * rate))
    late[shift:] = mono[: len(mono) - shift] * np.float32(amount)
    return np.stack([mono + late, mono - late])
