"""Static equaliser: the least-squares fixed filter of each stem, which every model has to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tfswa_unet.data import StemPlan, source_names
from tfswa_unet.data.reading import StemReader
from tfswa_unet.data.sets.layouts import AUTO
from tfswa_unet.data.tracks import OnError, find_songs, index
from tfswa_unet.dsp import istft, stft
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.evaluation.references import HOP, N_FFT, blocks
from tfswa_unet.evaluation.tracks import Audio
from tfswa_unet.types import Track

EQUALISER = "equaliser"
SECONDS = 600.0  # of songs that are read at most
PIECE = 256 * HOP  # samples read at a time: short, so that many songs are heard
EDGE = N_FFT // 2 // HOP  # frames at either end that reach beyond a signal


@dataclass(frozen=True, eq=False)
class Equaliser:
    """Fixed filters by stem: real gains (f,), the same for every channel and frame, and what they were fitted on."""

    gains: Mapping[str, NDArray[np.float32]]
    rate: int  # Hz, of the gains' bins
    data: str  # name of the data set
    songs: int
    seconds: float

    def separate(self, mixture: Audio, rate: int) -> dict[str, Audio]:
        """Filter a mixture: its STFT times each stem's gains, inverted; Hann window of 2048, hop 512.

        Gains for another rate are interpolated over frequency.

        Args:
            mixture: (c, t).
            rate: Hz.

        Returns:
            stems (c, t).
        """
        own, wanted = (np.fft.rfftfreq(N_FFT, 1 / each) for each in (self.rate, rate))
        gains = [torch.from_numpy(np.interp(wanted, own, gain).astype(np.float32)) for gain in self.gains.values()]
        stems = np.empty((len(gains), *mixture.shape), np.float32)
        for read, kept, within in blocks(mixture.shape[-1]):
            spectrum = stft(torch.from_numpy(mixture[:, read]), N_FFT, HOP)
            for stem, gain in zip(stems, gains, strict=True):
                stem[:, kept] = istft(gain * spectrum, N_FFT, HOP, read.stop - read.start).numpy()[:, within]
        return dict(zip(self.gains, stems, strict=True))

    @cached_property
    def sha256(self) -> str:
        """Hash of the gains, their stems and their rate."""
        digest = hashlib.sha256(repr((self.rate, *self.gains)).encode())
        for gain in self.gains.values():
            digest.update(gain.tobytes())
        return digest.hexdigest()

    def record(self) -> dict[str, Any]:
        """Plain values, ready for JSON, that say what the filters were fitted on."""
        return {
            "method": f"least-squares real gain a stem and bin, STFT {N_FFT}, hop {HOP}",
            "data": self.data,
            "songs": self.songs,
            "seconds": round(self.seconds, 3),
            "rate": self.rate,
            "sha256": self.sha256,
        }


def training_songs(root: str | Path, plan: StemPlan, on_error: OnError = "raise") -> list[Track]:
    """Open the training songs of the data set at `root`, of any kind, to fit an equaliser on.

    Raises:
        DataError: there is no data set, or none of its songs trains.
        ConfigError: it lacks stems of the plan.
        AudioError: a file cannot be read.
    """
    songs = find_songs(AUTO, root, way_on="set equaliser=/path/to/songs to a data set")[1]
    train = [song for song in songs if song.split == "train"]
    if not train:
        raise DataError(
            f"{root} has no songs to train on, only {len(songs)} to validate or test with: "
            "set equaliser to a data set that has some."
        )
    tracks = index(train, on_error)
    try:
        plan.resolve(source_names(tracks))
    except ConfigError as error:
        raise ConfigError(f"The training songs of equaliser={root} do not have the model's stems: {error}") from None
    return tracks


def fit(tracks: Sequence[Track], plan: StemPlan, rate: int, channels: int, data: str = "") -> Equaliser:
    """Fit the gains of every stem: Re Σ S·conj(X) / Σ |X|² in each bin, the stationary Wiener filter.

    The sums run over channels and over the frames of at most `SECONDS` of songs, drawn evenly and read piece by piece.
    A bin without energy in the mixture gets a gain of 0, and a source that a song lacks is silent there.

    Args:
        tracks: songs to fit on.
        plan: resolves the names of their sources into stems.
        rate: Hz, to which songs of another rate are resampled.
        channels: to which mono is copied; 1 averages stereo.
        data: name of the data set, for the record.

    Raises:
        ConfigError: the songs lack stems of the plan.
        AudioError: a file cannot be read.
        DataError: a song's channels cannot be matched.
    """
    reader = StemReader(tracks, plan, rate, channels)
    drawn = _pieces(reader.lengths, rate)
    cross = torch.zeros(reader.targets, N_FFT // 2 + 1, dtype=torch.float64)
    power = torch.zeros_like(cross[0])
    for track, start in drawn:
        stems = _read(reader, track, start)
        mixture = _full_frames(stems.sum(0))
        power += mixture.abs().square().sum((0, 1), dtype=torch.float64)
        for total, stem in zip(cross, stems[: reader.targets], strict=True):
            total += (_full_frames(stem) * mixture.conj()).real.sum((0, 1), dtype=torch.float64)
    gains = torch.where(power > 0, cross / power, 0).float().numpy()
    samples = sum(min(PIECE, reader.lengths[track] - start) for track, start in drawn)
    return Equaliser(
        gains=dict(zip(plan.names, gains, strict=True)),
        rate=rate,
        data=data,
        songs=len({track for track, _ in drawn}),
        seconds=samples / rate,
    )


def _pieces(lengths: Sequence[int], rate: int) -> list[tuple[int, int]]:
    """(song, first sample) of pieces that lie evenly over all songs, no more than `SECONDS` of them."""
    every = [(song, start) for song, length in enumerate(lengths) for start in range(0, length, PIECE)]
    count = min(len(every), max(1, int(SECONDS * rate / PIECE)))
    return [every[(2 * number + 1) * len(every) // (2 * count)] for number in range(count)]


def _read(reader: StemReader, track: int, start: int) -> Audio:
    """Stems (s, c, t) of a piece, whose frames run on into the next one so that whole songs leave no gap."""
    size = min(PIECE + N_FFT - HOP, reader.lengths[track] - start)
    stems = np.empty((len(reader.names), reader.channels, size), np.float32)
    for number, crop in enumerate(stems):
        reader.fill(crop, track, number, start)
    return stems


def _full_frames(audio: Audio) -> Tensor:
    """STFT (c, n, f) without the frames that reach beyond the ends: a cut spreads low notes over all bins."""
    spectrum = stft(torch.from_numpy(audio), N_FFT, HOP)
    return spectrum[:, EDGE : max(EDGE, (audio.shape[-1] - N_FFT // 2) // HOP + 1)]
