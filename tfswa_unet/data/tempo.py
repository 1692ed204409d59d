"""Tempo of a loop or song, from its name or from its onsets."""

from __future__ import annotations

import re

import numpy as np

SLOWEST, FASTEST = 50.0, 220.0  # bpm that a name or an estimate may give
USUAL = 120.0  # bpm around which an estimate is likelier
HOP = 0.01  # s between the frames in which onsets are looked for
WINDOW = 0.04  # s
BLUR = 5  # frames
SHORTEST = 1.5  # s below which onsets tell no tempo
CLEAR = 0.2  # how much more the onsets resemble themselves after a beat than before it
BAR = 4  # beats
BARS = 1.25  # how much likelier a beat is with which the audio lasts whole bars
WHOLE = 0.04  # relative error within which an estimate counts as whole bars
EXACT = 0.01  # relative error of an estimate that a whole number of beats may correct

_NAME = re.compile(r"(?<![\d.])(\d{2,3}(?:\.\d+)?)[ _-]?bpm|bpm[ _-]?(\d{2,3}(?:\.\d+)?)(?![\d.])", re.IGNORECASE)


def tempo_in_name(name: str) -> float | None:
    """Tempo in bpm in a file's name, as in "Funk 96bpm.wav" or "bpm_120-kick"; None where none."""
    found = _NAME.search(name)
    bpm = float(found[1] or found[2]) if found else 0.0
    return bpm if SLOWEST <= bpm <= FASTEST else None


def estimate_tempo(audio: np.ndarray, rate: int, is_loop: bool = True) -> float | None:
    """Estimate the tempo of audio (c, t) at `rate` Hz in bpm; None where its onsets do not come back regularly.

    The beat is the lag at which the onsets (spectral flux) resemble themselves most, near 120 bpm for choice. A loop
    lasts whole bars for choice, and where a whole number of beats fills it their length is taken from that.
    """
    seconds = audio.shape[-1] / rate
    if seconds < SHORTEST:
        return None
    onsets = _onsets(audio.mean(axis=0), rate)
    energy = float(np.dot(onsets, onsets))
    if energy == 0:
        return None
    spectrum = np.fft.rfft(onsets, 2 * len(onsets))
    alike = np.fft.irfft(np.abs(spectrum) ** 2)[: len(onsets)] / energy
    # A lag leaves out the end of the onsets: what is left is weighed up.
    alike /= np.maximum(1 - np.arange(len(onsets)) / len(onsets), 0.25)
    lags = np.arange(int(60 / FASTEST / HOP), min(int(60 / SLOWEST / HOP) + 1, len(onsets) - 1))
    if not len(lags):
        return None
    twice = np.interp(2 * lags, np.arange(len(alike)), alike, right=0)
    likely = np.exp(-0.5 * np.square(np.log2(60 / (lags * HOP) / USUAL)))
    if is_loop:
        bars = seconds / (BAR * HOP * lags)
        likely[np.abs(bars - np.maximum(bars.round(), 1)) < WHOLE * bars] *= BARS
    likely[(alike[lags] < alike[lags - 1]) | (alike[lags] < alike[lags + 1])] = 0
    best = int(lags[np.argmax((alike[lags] + 0.5 * twice) * likely)])
    if alike[best] - alike[:best].min() < CLEAR or not likely.any():
        return None
    bpm = 60 / (_peak(alike, best) * HOP)
    beats = max(1, round(seconds * bpm / 60))
    whole = 60 * beats / seconds
    return whole if is_loop and abs(whole / bpm - 1) < EXACT else bpm


def _onsets(audio: np.ndarray, rate: int) -> np.ndarray:
    hop, size = round(HOP * rate), round(WINDOW * rate)
    # The onset of a loop's first beat needs silence before it.
    padded = np.pad(audio, (size, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size).astype(np.float32)
    # The root keeps accents, which a logarithm would level: without them every eighth looks like a beat.
    magnitudes = np.sqrt(np.abs(np.fft.rfft(frames)).astype(np.float32))
    flux = np.maximum(np.diff(magnitudes, axis=0), 0).sum(axis=1, dtype=np.float64)
    # Blurred, so that beats which fall between two frames meet again all the same.
    return np.convolve(np.maximum(flux - flux.mean(), 0), np.hanning(BLUR + 2), "same")


def _peak(values: np.ndarray, at: int) -> float:
    """The place of a peak between samples, by the parabola through three of them."""
    left, middle, right = values[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return at + (float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0)
