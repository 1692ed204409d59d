"""Mixdown: channel strips, dynamics and stereo width of stems, and the bus that all of them pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import scipy.fft
from scipy.signal import lfilter

from tfswa_unet.songs.score import Strip
from tfswa_unet.songs.sounds import HOP, upsample

RUMBLE = 25.0  # Hz: below lies nothing that a loudspeaker plays
PIVOT = 900.0  # Hz, of the spectral tilt
FADE = 0.01  # s, at the end
TAIL = 1 / 4  # share of a transform that holds the tail of the room
ATTACK = 0.005  # s, of all dynamics


@dataclass(frozen=True)
class Bell:
    """Bell of a parametric equaliser: centre in Hz, gain in dB, width as Q."""

    hertz: float
    gain: float
    q: float


@dataclass(frozen=True)
class Compression:
    """Compression of what is louder than `threshold` dB over the mean level: ratio, and release in s."""

    threshold: float
    ratio: float
    release: float


def room_spectrum(response: np.ndarray) -> np.ndarray:
    """Spectrum (2, f) of a room's impulse response (2, t), in the size that `apply_strip` filters with."""
    return scipy.fft.rfft(response, 2 ** ceil(np.log2(response.shape[1] / TAIL)))


def apply_strip(
    dry: np.ndarray, settings: Strip, room: np.ndarray, rate: int, bells: Sequence[Bell] = ()
) -> np.ndarray:
    """Channel strip: saturation, equaliser, high-pass, reverb send and level of a stem (2, t); (2, t).

    `room` is the spectrum of the room's impulse response, (2, f), which fills a quarter of its transform.
    """
    if settings.drive:
        dry = saturate(dry, settings.drive)
    size = 2 * (room.shape[1] - 1)
    send = np.float32(10 ** (settings.send / 20)) * room
    tone = _equaliser(settings.tilt, room.shape[1], rate)
    for bell in bells:
        tone = tone * _bell(bell, room.shape[1], rate)

    def desk(spectra: np.ndarray) -> np.ndarray:
        return (spectra + spectra.mean(axis=0) * send[:, None]) * tone

    out = overlap_add(dry, size, desk)
    out *= np.float32(10 ** (settings.level / 20) / loudness(out, rate))
    fade = round(FADE * rate)
    out[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return out


def overlap_add(audio: np.ndarray, size: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Filter audio (2, t) by overlap-add: `change` maps the spectra of all blocks (2, k, f) at once."""
    tail = round(size * TAIL)
    block, length = size - tail, audio.shape[1]
    count = -(-length // block)
    padded = np.pad(audio, ((0, 0), (0, count * block - length))).reshape(2, count, block)
    out = scipy.fft.irfft(change(scipy.fft.rfft(padded, size)), size)
    out[:, 1:, :tail] += out[:, :-1, block:]
    return out[:, :, :block].reshape(2, -1)[:, :length]


def saturate(dry: np.ndarray, drive: float) -> np.ndarray:
    """Round off the peaks that stand over the mean level, as tape does."""
    knee = np.float32(np.sqrt(np.square(dry).mean()) * (8 - 5 * drive) + 1e-9)
    return knee * np.tanh(dry / knee)


def loudness(audio: np.ndarray, rate: int) -> float:
    """Root mean square of audio (2, t) over the parts that sound: tenths of a second within 20 dB of the loudest."""
    size = min(audio.shape[1], rate // 10)
    blocks = audio[:, : audio.shape[1] // size * size].reshape(2, -1, size)
    power = np.square(blocks).mean(axis=(0, 2))
    return float(np.sqrt(power[power >= power.max() / 100].mean()) + 1e-12)


def compress(audio: np.ndarray, settings: Compression, rate: int) -> np.ndarray:
    """Compress the dynamics of a stem (2, t), both channels alike; (2, t)."""
    return audio * compression_gain(audio, settings, rate)


def compression_gain(audio: np.ndarray, settings: Compression, rate: int) -> np.ndarray:
    """Gain (t,) that compresses audio (2, t)."""
    over = 20 * np.log10(_peaks(audio) / loudness(audio, rate) + 1e-9) - settings.threshold
    return _gain(np.maximum(over, 0) * (1 - 1 / settings.ratio), settings.release, audio.shape[1], rate)


def sidechain(audio: np.ndarray, trigger: np.ndarray, depth: float, release: float, rate: int) -> np.ndarray:
    """Duck audio (2, t) by `depth` dB at the hits of a trigger (2, t), and let it come back within `release` s."""
    peaks = _peaks(trigger)
    struck = peaks > 0.5 * peaks.max(initial=1e-9)
    return audio * _gain(depth * struck.astype(np.float64), release, audio.shape[1], rate)


def glue(stems: Mapping[str, np.ndarray], settings: Compression, rate: int) -> dict[str, np.ndarray]:
    """Compress the mixture as a bus does: every stem (2, t) gets the mixture's gain, so that they still sum to it."""
    gain = compression_gain(np.sum(list(stems.values()), axis=0), settings, rate)
    return {stem: audio * gain for stem, audio in stems.items()}


def below_peak(stems: Mapping[str, np.ndarray], peak: float) -> dict[str, np.ndarray]:
    """Bring stems (2, t) to one level at which the loudest of them, or their sum, reaches `peak` of full scale."""
    loudest = max(1e-6, *(float(np.abs(audio).max()) for audio in [*stems.values(), sum(stems.values())]))
    return {stem: audio * np.float32(peak / loudest) for stem, audio in stems.items()}


def stereo_width(audio: np.ndarray, width: float) -> np.ndarray:
    """Scale the side of audio (2, t) by `width`: 0 gives mono, 1 the same, 2 twice the width; (2, t)."""
    middle, side = audio.mean(axis=0), (audio[0] - audio[1]) * np.float32(width / 2)
    return np.stack([middle + side, middle - side])


def _equaliser(tilt: float, bins: int, rate: int) -> np.ndarray:
    """Responses of the analogue first-order shelf and high-pass, so causal without a filter's loop; (f,)."""
    tone = 1j * np.linspace(0, rate / 2, bins, dtype=np.float32)
    gain = np.float32(10 ** (tilt / 20))
    return (gain * tone + PIVOT) / (tone + PIVOT) * tone / (tone + RUMBLE)


def _bell(bell: Bell, bins: int, rate: int) -> np.ndarray:
    """Response of an analogue bell; (f,)."""
    turn = 1j * np.linspace(0, rate / 2, bins, dtype=np.float32) / np.float32(bell.hertz)
    amplitude = np.float32(10 ** (bell.gain / 40))
    square = turn * turn + 1
    return (square + turn * (amplitude / np.float32(bell.q))) / (square + turn / (amplitude * np.float32(bell.q)))


def _peaks(audio: np.ndarray) -> np.ndarray:
    """Peaks of audio (2, t) over the steps of a control signal."""
    length = audio.shape[1]
    padded = np.pad(np.abs(audio).max(axis=0), (0, -length % HOP + HOP))
    return padded.reshape(-1, HOP).max(axis=1)


def _gain(reduction: np.ndarray, release: float, length: int, rate: int) -> np.ndarray:
    """Gain (t,) that follows a reduction in dB at the control points: at once upwards, within `release` s back."""
    fall = float(np.exp(-HOP / (release * rate)))
    held, state = [], 0.0
    for step in reduction.tolist():
        state = max(step, state * fall)
        held.append(state)
    pole = float(np.exp(-HOP / (ATTACK * rate)))
    smoothed = lfilter([1 - pole], [1, -pole], held)
    return upsample(10 ** (-smoothed / 20), length)
