"""The key of a song: from how often each of the twelve tones sounds."""

from __future__ import annotations

import numpy as np

from tfswa_unet.data.music.music import Key

# How well each semitone above the tonic fits in a key, as listeners rated it.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
LOWEST, HIGHEST = 65.0, 2_100.0  # Hz, C2 to C7: below, semitones are narrower than a bin
WINDOW = 0.75  # s: a semitone at the lowest is three bins
CLEAR = 0.5  # correlation below which there is no key
UNEVEN = 0.1  # how much the tones' shares have to spread, relative to their mean


def estimate_key(audio: np.ndarray, rate: int) -> Key | None:
    """Return the key of audio (c, t) at `rate` Hz, or None where no key fits what sounds.

    The key whose profile correlates best with the chroma, the tones' shares of all spectral peaks: the algorithm of
    Krumhansl and Schmuckler with the profiles of Krumhansl and Kessler, doi 10.1037/0033-295X.89.4.334.
    """
    chroma = _chroma(audio.mean(axis=0), rate)
    if chroma is None or chroma.std() < UNEVEN * chroma.mean():
        return None
    profiles = np.stack([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    fits = [float(np.corrcoef(chroma, profile)[0, 1]) for profile in profiles]
    best = int(np.argmax(fits))
    return Key(best % 12, best >= 12) if fits[best] >= CLEAR else None


def _chroma(audio: np.ndarray, rate: int) -> np.ndarray | None:
    """The shares of C, C#, …, B; None where nothing sounds."""
    size = 2 ** round(np.log2(WINDOW * rate))
    padded = np.pad(audio, (0, max(0, size - len(audio))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2] * np.hanning(size).astype(np.float32)
    magnitudes = np.abs(np.fft.rfft(frames))
    frequencies = np.arange(magnitudes.shape[1]) * rate / size
    inside = (frequencies >= LOWEST) & (frequencies <= min(HIGHEST, 0.45 * rate))
    # Peaks alone: drums and consonants are broad, tones are not.
    peaks = (magnitudes > np.roll(magnitudes, 1, axis=1)) & (magnitudes >= np.roll(magnitudes, -1, axis=1))
    tones = np.where(peaks, magnitudes, 0)[:, inside]
    sums = tones.sum(axis=1, keepdims=True)
    # Every moment counts alike, however loud it is.
    shares = (tones / np.where(sums > 0, sums, 1)).sum(axis=0)
    classes = np.round(12 * np.log2(frequencies[inside] / 440) + 9).astype(int) % 12
    chroma = np.bincount(classes, shares, minlength=12)
    return chroma / chroma.sum() if chroma.any() else None
