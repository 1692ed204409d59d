"""A singer's sound: a source, the larynx, shaped by a moving filter, the mouth."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from tfswa_unet.data.synthetic.envelopes import HOP, points, upsample
from tfswa_unet.data.synthetic.oscillators import Wavetable, hertz, noise, phase
from tfswa_unet.data.synthetic.singing import Manner, Performance

WIDTHS = np.array([90.0, 110.0, 170.0, 250.0, 300.0])  # Hz, of the formants
PEAKS = np.array([16.0, 15.0, 13.0, 12.0, 11.0])  # dB, of the formants over the valleys
WINDOW = 0.023  # s, of the filter's frames


def source(performance: Performance, manner: Manner, rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """What the larynx makes: a train of glottal pulses with breath in it; (t,)."""
    frequency = hertz(performance.pitch)
    harmonics = np.arange(1, 400)
    pulses = Wavetable(1 / harmonics, rng.uniform(-0.6, 0.6, len(harmonics)) - np.pi / 2, rate)
    effort = upsample(performance.effort, length)
    voiced = pulses(phase(upsample(frequency, length), rate), frequency)
    return (voiced + np.float32(manner.breath) * noise(rng, length)) * effort


def mouth(
    sounds: list[np.ndarray], performance: Performance, manner: Manner, rng: np.random.Generator, rate: int
) -> list[np.ndarray]:
    """Shape sources by the moving vowels, the first of them with the consonants added; (t,) each."""
    length = len(sounds[0])
    size = 2 ** round(np.log2(WINDOW * rate))
    frames = -(-length // (size // 2)) + 1
    at = np.minimum(np.arange(frames) * (size // 2) // HOP, points(length) - 1)
    frequency = np.maximum(np.arange(size // 2 + 1) * rate / size, 20.0).astype(np.float32)
    shape = _vowels(performance, manner, at, frequency)
    spectra = [_analyse(sound, size, frames) * shape for sound in sounds]
    hiss = noise(rng, length) * upsample(performance.hiss, length)
    away = (np.log2(frequency) - np.log2(performance.hiss_centre[at, None])) / performance.hiss_octaves[at, None]
    spectra[0] += _analyse(hiss, size, frames) * np.exp(-np.square(away.astype(np.float32)))
    return [_synthesise(spectrum, length) for spectrum in spectra]


def _vowels(performance: Performance, manner: Manner, at: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Magnitude of the vocal tract over frames and bins; (n, f)."""
    octaves = np.log2(frequency / 400).clip(0, None)
    rounded = np.log2(frequency / 1200).clip(0, 1)
    lift = manner.presence * np.exp(-np.square(np.log2(frequency / 3000)))
    lift += manner.air * np.log2(frequency / 4000).clip(0, None)
    quiet = manner.softness * (1 - performance.effort[at]).clip(0, 1)
    loss = quiet[:, None].astype(np.float32) * octaves + performance.dull[at, None].astype(np.float32) * rounded - lift
    shape = np.exp(loss.astype(np.float32) * np.float32(-np.log(10) / 20))
    for centre, width, peak in zip(performance.formants, WIDTHS, PEAKS, strict=True):
        away = (frequency - centre[at, None].astype(np.float32)) / np.float32(width * manner.size)
        shape *= 1 + np.float32(10 ** (peak / 20) - 1) / (1 + np.square(away))
    return shape


def _window(size: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(size, dtype=np.float32) + 0.5) / size)


def _analyse(sound: np.ndarray, size: int, frames: int) -> np.ndarray:
    half = size // 2
    padded = np.pad(sound, (half, (frames + 1) * half - half - len(sound)))
    return scipy.fft.rfft(sliding_window_view(padded, size)[::half] * _window(size))


def _synthesise(spectrum: np.ndarray, length: int) -> np.ndarray:
    frames = scipy.fft.irfft(spectrum) * _window(2 * (spectrum.shape[1] - 1))
    half = frames.shape[1] // 2
    return (frames[:-1, half:] + frames[1:, :half]).reshape(-1)[:length]
