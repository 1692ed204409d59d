"""Tempo and key of songs, estimated from their audio and kept in a cache's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.cache.facts import load_entries, save_entries
from tfswa_unet.data.cache.pcm import SUFFIX
from tfswa_unet.data.reading import read_source
from tfswa_unet.data.tempo import estimate_tempo
from tfswa_unet.data.tracks import OnError
from tfswa_unet.errors import UserError
from tfswa_unet.processes import in_processes, processors
from tfswa_unet.types import Track

# How well each semitone above the tonic fits in a key, as listeners rated it.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
LOWEST, HIGHEST = 65.0, 2_100.0  # Hz, C2 to C7: below, semitones are narrower than a bin
WINDOW = 0.75  # s: a semitone at the lowest is three bins
CLEAR = 0.5  # correlation below which there is no key
UNEVEN = 0.1  # how much the tones' shares have to spread, relative to their mean
NAME = "music.json"  # in the folder of a cache
FORMAT = 1  # of that file, changed whenever the same stems would give another tempo or key
SECONDS = 60.0  # of the middle of a song
RATE = 11_000  # Hz: no tone of interest lies higher, and onsets are looked for every 110 samples
WORTH = 16  # tracks that make starting one more process worth its while

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Key:
    """A major or minor key; its tonic counts semitones above C, 0 to 11."""

    tonic: int
    minor: bool

    @property
    def fifths(self) -> int:
        """Where the key lies on the circle of fifths, 0 to 11 from C major and A minor on."""
        major = self.tonic + 3 if self.minor else self.tonic
        return 7 * major % 12


@dataclass(frozen=True)
class TempoKey:
    """The tempo of a song in bpm and its key; None where it has no clear one."""

    tempo: float | None
    key: Key | None


def estimate_tempo_keys(
    tracks: Sequence[Track],
    folder: str | Path | None = None,
    *,
    workers: int | None = None,
    on_error: OnError = "raise",
    on_progress: Report | None = None,
) -> list[TempoKey]:
    """Estimate the tempo and key of every track but those that `folder`/music.json knows.

    Args:
        tracks: whose stems, if a folder is given, lie in the cache there: what is known is found by their names, which
            say what they hold.
        folder: of the cache; without it nothing is remembered.
        workers: processes; by default as many as there are processors, if the work is worth starting them.
        on_error: "skip" takes a track that cannot be read for one without tempo and key.
        on_progress: is told the phase, how much of it is done, and of how much.

    Raises:
        AudioError, DataError: a track that cannot be read.
    """
    path = None if folder is None else Path(folder).expanduser() / NAME
    names = [_name(track) for track in tracks]
    known = {} if path is None else _load(path)
    missing = {name: track for name, track in zip(names, tracks, strict=True) if name not in known}
    workers = workers or min(processors(), ceil(len(missing) / WORTH))
    try:
        done = in_processes(_estimate, list(missing.items()), workers)
        for count, (name, found) in enumerate(done, 1):
            if isinstance(found, TempoKey):
                known[name] = found
            elif on_error == "raise":
                raise found
            if on_progress:
                on_progress("listening", count, len(missing))
    finally:
        if path is not None and missing:
            with suppress(OSError):  # what is missing is found anew
                # Beside what others have written meanwhile.
                save_entries(path, "tracks", FORMAT, _load(path) | known)
    return [known.get(name, TempoKey(None, None)) for name in names]


def estimate_tempo_key(track: Track) -> TempoKey:
    """Estimate the tempo and key of a track, from up to a minute of the middle of all its stems together.

    Raises AudioError for a stem that cannot be read and DataError for a damaged cache.
    """
    length = min(track.length, round(SECONDS * track.rate))
    start = (track.length - length) // 2
    total = np.zeros((1, length), np.float32)
    for source in track.sources.values():
        found = read_source(source, start, length).mean(axis=0)
        total[0, : len(found)] += found
    low = audio.resample(total, track.rate, RATE)
    return TempoKey(estimate_tempo(low, RATE, is_loop=False), estimate_key(low, RATE))


def estimate_key(audio: np.ndarray, rate: int) -> Key | None:
    """Estimate the key of audio (c, t) at `rate` Hz; None where no key fits.

    The key whose profile correlates best with the chroma, the tones' shares of all spectral peaks: the algorithm of
    Krumhansl and Schmuckler with the profiles of Krumhansl and Kessler, doi 10.1037/0033-295X.89.4.334.
    """
    chroma = _chroma(audio.mean(axis=0), rate)
    return None if chroma is None else key_of_chroma(chroma)


def key_of_chroma(chroma: np.ndarray) -> Key | None:
    """Key whose profile correlates best with the shares of C, C#, …, B (12,); None where no key fits."""
    if chroma.std() < UNEVEN * chroma.mean():
        return None
    profiles = np.stack([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    fits = [float(np.corrcoef(chroma, profile)[0, 1]) for profile in profiles]
    best = int(np.argmax(fits))
    return Key(best % 12, best >= 12) if fits[best] >= CLEAR else None


def _estimate(name: str, track: Track) -> tuple[str, TempoKey | UserError]:
    try:
        return name, estimate_tempo_key(track)
    except UserError as error:
        return name, error


def _name(track: Track) -> str:
    parts = [part for source in track.sources.values() for part in source.parts]
    # A file of the cache is named after what it holds, wherever it lies.
    places = [
        (part.path.name if part.path.suffix == SUFFIX else str(part.path), part.stream, part.start) for part in parts
    ]
    return blake2b(json.dumps(sorted(places)).encode(), digest_size=16).hexdigest()


def _load(path: Path) -> dict[str, TempoKey]:
    return load_entries(path, "tracks", FORMAT, _checked)


def _checked(tempo: Any, key: Any) -> TempoKey:
    found = TempoKey(None if tempo is None else float(tempo), None if key is None else Key(**key))
    if found.tempo is not None and not 0 < found.tempo < float("inf"):
        raise ValueError(found)
    if found.key is not None and (found.key.tonic not in range(12) or not isinstance(found.key.minor, bool)):
        raise ValueError(found)
    return found


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
