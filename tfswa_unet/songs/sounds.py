"""Sound synthesis: envelopes, oscillators, noise, panning and room impulse responses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from scipy.signal import lfilter

HOP = 64  # samples between two points of a control signal
BITS = 14  # a table holds 2**BITS samples of one period
LOWEST = 27.5  # Hz, the top of the lowest zone
ZONES = 16  # half octaves
PASS = 0.45  # of the sample rate: nothing is made above
TURN = 2.0**32  # one period of an unsigned 32-bit phase, which wraps for free
BLOCK = 512
REFLECTIONS = 8


def control_points(length: int) -> int:
    """Number of points of a control signal over `length` samples, the right end included."""
    return length // HOP + 2


def smooth(control: np.ndarray, seconds: float, rate: int) -> np.ndarray:
    """Smooth a control signal (…, t) over about `seconds` by two equal one-pole low-passes."""
    pole = float(np.exp(-2 * HOP / (max(seconds, 1e-4) * rate)))
    b, a = np.array([1 - pole]), np.array([1, -pole])
    rest = control[..., :1] * pole  # the filter starts settled on its first value
    for _ in range(2):
        control, _ = lfilter(b, a, control, zi=rest)
    return control


def upsample(control: np.ndarray, length: int) -> np.ndarray:
    """Interpolate a control signal linearly to `length` samples; float32 (t,)."""
    control = control.astype(np.float32)
    ramp = np.arange(HOP, dtype=np.float32) / HOP
    line = control[:-1, None] + np.diff(control)[:, None] * ramp
    return line.reshape(-1)[:length]


def hertz(pitch: np.ndarray | float) -> np.ndarray:
    """Frequency in Hz of a MIDI number."""
    return 440 * 2 ** ((np.asarray(pitch) - 69) / 12)


def phase(frequency: np.ndarray, rate: int) -> np.ndarray:
    """Running phase of a frequency in Hz (t,) as unsigned 32-bit fractions of a turn."""
    return np.cumsum((frequency * np.float32(TURN / rate)).astype(np.uint32), dtype=np.uint32)


class Wavetable:
    """Band-limited wavetable oscillator: one period for every half octave, with the harmonics that fit below Nyquist.

    `amplitudes` are those of harmonics 1, 2, …; `phases` in radians.
    """

    def __init__(self, amplitudes: np.ndarray, phases: np.ndarray, rate: int) -> None:
        count = min(len(amplitudes), 2 ** (BITS - 1) - 1)
        harmonics = np.arange(1, count + 1)
        spectrum = np.zeros((ZONES, 2 ** (BITS - 1) + 1), np.complex64)
        spectrum[:, 1 : count + 1] = amplitudes[:count] * np.exp(1j * phases[:count])
        top = LOWEST * 2 ** (np.arange(ZONES) / 2)
        spectrum[:, 1 : count + 1] *= harmonics * top[:, None] <= PASS * rate
        self.tables = (scipy.fft.irfft(spectrum) * 2 ** (BITS - 1)).astype(np.float32).reshape(-1)

    def __call__(self, phase: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """Oscillate at phases (t,), the zone chosen by the frequency in Hz at the control points; (t,)."""
        zone = np.ceil(2 * np.log2(np.maximum(frequency, LOWEST) / LOWEST)).clip(0, ZONES - 1)
        offset = np.repeat(zone.astype(np.uint32) << BITS, HOP)[: len(phase)]
        return self.tables.take((phase >> (32 - BITS)) | offset)


def partials(
    frequency: np.ndarray, amplitude: np.ndarray, decay: np.ndarray, angle: np.ndarray, length: int, rate: int
) -> np.ndarray:
    """Additive oscillator: a sum of decaying sines, those above the pass band left out; (t,).

    All of (d,): frequencies in Hz, amplitudes, times to fall by 1/e in s (inf for none) and start phases in radians.
    A power series factors into the powers of whole blocks times those inside a block, so the sum over partials is one
    small product of matrices instead of `length` sines a partial.
    """
    audible = frequency <= PASS * rate
    frequency, amplitude, decay, angle = (value[audible] for value in (frequency, amplitude, decay, angle))
    turns, loss = frequency / rate, 1 / (decay * rate)
    cosine, sine = _powers(turns, loss, angle / (2 * np.pi), BLOCK * np.arange(-(-length // BLOCK)))
    left = np.concatenate([sine, cosine]) * np.tile(amplitude, 2)[:, None].astype(np.float32)
    right = np.concatenate(_powers(turns, loss, np.zeros_like(turns), np.arange(BLOCK)))
    # einsum and not BLAS: its order of summation does not depend on the number of threads.
    return np.einsum("pa,pb->ab", left, right).reshape(-1)[:length]


def noise(rng: np.random.Generator, length: int) -> np.ndarray:
    """White noise of unit variance, uniformly distributed; float32 (t,)."""
    return (rng.random(length, dtype=np.float32) - np.float32(0.5)) * np.float32(12**0.5)


def place(bus: np.ndarray, sound: np.ndarray, start: int, gain: float = 1.0) -> None:
    """Add a sound to a bus (…, t) at a sample; what lies outside the bus is dropped."""
    skip = max(0, -start)
    size = min(sound.shape[-1] - skip, bus.shape[-1] - start - skip)
    if size > 0:
        at = start + skip
        bus[..., at : at + size] += sound[..., skip : skip + size] * np.float32(gain)


def cut(sound: np.ndarray, length: int, release: int) -> np.ndarray:
    """Cut a sound (t,) to `length` samples and fade it out over its last `release` samples."""
    sound = sound[:length].copy()
    size = min(release, len(sound))
    if size:
        sound[-size:] *= _fall(size)
    return sound


def pan(mono: np.ndarray, position: float) -> np.ndarray:
    """Pan mono audio (t,) to a position from −1 (left) to 1 (right) at constant power; (2, t)."""
    angle = (position + 1) * np.pi / 4
    return np.stack([mono * np.float32(np.cos(angle)), mono * np.float32(np.sin(angle))])


def widen(mono: np.ndarray, amount: float, seconds: float, rate: int) -> np.ndarray:
    """Spread mono audio (t,) by a delayed copy of opposite sign on each side (Lauridsen): mono stays mono; (2, t)."""
    late = np.zeros_like(mono)
    shift = max(1, int(seconds * rate))
    late[shift:] = mono[: len(mono) - shift] * np.float32(amount)
    return np.stack([mono + late, mono - late])


@dataclass(frozen=True)
class Room:
    """Room: reverberation time and pre-delay in s, and the high band's decay time over the low band's."""

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
    """Stereo impulse response of a room, of unit energy a channel: early reflections, then decaying noise; (2, t)."""
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
        signs = rng.choice([-1, 1], REFLECTIONS)
        channel[at] += 0.1 * np.sqrt(np.square(channel).sum()) * signs * rng.uniform(0.3, 1, REFLECTIONS)
    tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    return np.pad(tail, ((0, 0), (delay, 0))).astype(np.float32)


@lru_cache(maxsize=16)
def _fall(size: int) -> np.ndarray:
    return np.cos(np.linspace(0, np.pi / 2, size, dtype=np.float32)) ** 2


def _powers(turns: np.ndarray, loss: np.ndarray, start: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of exp((2πi · turns − loss) · steps) from a phase in turns; float32 (d, t)."""
    turned = turns[:, None] * steps + start[:, None]
    turned -= np.floor(turned)  # in double precision, so that single precision is enough from here on
    angle = turned.astype(np.float32) * np.float32(2 * np.pi)
    size = np.exp(-(loss[:, None] * steps).astype(np.float32))
    return size * np.cos(angle), size * np.sin(angle)
