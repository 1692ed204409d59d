"""Periodic and decaying sounds without aliasing: band-limited wavetables and sums of decaying partials."""

from __future__ import annotations

import numpy as np
import scipy.fft

from tfswa_unet.data.synthetic.envelopes import HOP

BITS = 14  # a table holds 2**BITS samples of one period
LOWEST = 27.5  # Hz, the top of the lowest zone
ZONES = 16  # half octaves
PASS = 0.45  # of the sample rate: nothing is made above
TURN = 2.0**32  # one period of an unsigned 32-bit phase, which wraps for free
BLOCK = 512


def hertz(pitch: np.ndarray | float) -> np.ndarray:
    """Frequency in Hz of a MIDI number."""
    return 440 * 2 ** ((np.asarray(pitch) - 69) / 12)


def phase(frequency: np.ndarray, rate: int) -> np.ndarray:
    """Running phase of a frequency in Hz (t,) as unsigned 32-bit fractions of a turn."""
    return np.cumsum((frequency * np.float32(TURN / rate)).astype(np.uint32), dtype=np.uint32)


class Wavetable:
    """One period of a harmonic sound, stored once for every half octave with only the harmonics that fit below Nyquist.

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
        """Read the table at phases (t,), the zone chosen by the frequency in Hz at the control points; (t,)."""
        zone = np.ceil(2 * np.log2(np.maximum(frequency, LOWEST) / LOWEST)).clip(0, ZONES - 1)
        offset = np.repeat(zone.astype(np.uint32) << BITS, HOP)[: len(phase)]
        return self.tables.take((phase >> (32 - BITS)) | offset)


def partials(
    frequency: np.ndarray, amplitude: np.ndarray, decay: np.ndarray, angle: np.ndarray, length: int, rate: int
) -> np.ndarray:
    """A sum of decaying sines, those above the pass band left out; (t,).

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


def _powers(turns: np.ndarray, loss: np.ndarray, start: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of exp((2πi · turns − loss) · steps) from a phase in turns; float32 (d, t)."""
    turned = turns[:, None] * steps + start[:, None]
    turned -= np.floor(turned)  # in double precision, so that single precision is enough from here on
    angle = turned.astype(np.float32) * np.float32(2 * np.pi)
    size = np.exp(-(loss[:, None] * steps).astype(np.float32))
    return size * np.cos(angle), size * np.sin(angle)


def noise(rng: np.random.Generator, length: int) -> np.ndarray:
    """White noise of unit variance, uniformly distributed; float32 (t,)."""
    return (rng.random(length, dtype=np.float32) - np.float32(0.5)) * np.float32(12**0.5)
