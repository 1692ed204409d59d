"""The passages in which a model does worst, kept to be heard and seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfswa_unet.audio import resample, write
from tfswa_unet.evaluation.bsseval import Frames, TrackScores
from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.evaluation.tracks import Audio, ScoredTrack
from tfswa_unet.types import MIXTURE

SECONDS = 10.0
FOLDER = "worst"
SOUNDS = (MIXTURE, "estimate", "target")
RATE = 48000  # Hz, of Opus


@dataclass(frozen=True)
class Excerpt:
    """A passage of a track in which a stem is scored."""

    stem: str
    track: str
    start: float  # s
    seconds: float
    sdr: float  # dB, mean over its windows that have a score

    @property
    def picture(self) -> str:
        """File name of its spectrograms."""
        return f"{self.stem}.png"

    def sound(self, name: str) -> str:
        """File name of one of `SOUNDS`."""
        return f"{self.stem}-{name}.opus"


def worst(tracks: Iterable[TrackScores], stem: str, window_seconds: float, hop_seconds: float) -> Excerpt | None:
    """The ten seconds of all tracks in which a stem's SDR is lowest, by the mean of its windows; None without a score.

    Windows without a finite SDR do not count, and half of a passage's have to have one, or all that there are.

    Args:
        tracks: a model's scores.
        stem: name.
        window_seconds: length of the windows that were scored, s.
        hop_seconds: from one's start to the next's, s.
    """
    count = max(1, round((SECONDS - window_seconds) / hop_seconds) + 1)
    length = (count - 1) * hop_seconds + window_seconds
    found: Excerpt | None = None
    for track in tracks:
        first, sdr = _lowest(track.frames[stem]["SDR"], count)
        if np.isfinite(sdr) and (found is None or sdr < found.sdr):
            found = Excerpt(stem, track.track, first * hop_seconds, length, sdr)
    return found


def keep(
    excerpts: Sequence[Excerpt],
    songs: Mapping[str, ScoredTrack],
    separate: Callable[[ScoredTrack], Mapping[str, Audio]],
    out: Path,
) -> None:
    """Write each excerpt's mixture, estimate and target as Opus, and their spectrograms.

    Whole tracks are separated once more for it, so that what is heard is what was scored.

    Args:
        excerpts: what `worst` gave.
        songs: by name.
        separate: a song → its stems, (c, t) each.
        out: folder of the evaluation.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for track in dict.fromkeys(excerpt.track for excerpt in excerpts):
        song = songs[track].unread()
        stems = separate(song)
        for excerpt in excerpts:
            if excerpt.track == track:
                _write(excerpt, song, stems[excerpt.stem], folder)


def _lowest(sdr: Frames, count: int) -> tuple[int, float]:
    """First window of the passage of `count` windows with the lowest mean, and that mean; NaN where none counts."""
    count = min(count, len(sdr))
    passages = np.lib.stride_tricks.sliding_window_view(np.where(np.isfinite(sdr), sdr, np.nan), count)
    scored = np.isfinite(passages).sum(-1)
    needed = max(1, min(count / 2, scored.max()))
    means = np.where(scored >= needed, np.nansum(passages, -1) / np.maximum(scored, 1), np.inf)
    first = int(means.argmin())
    return first, float(means[first])


def _write(excerpt: Excerpt, song: ScoredTrack, estimate: Audio, folder: Path) -> None:
    start = round(excerpt.start * song.rate)
    within = slice(start, start + round(excerpt.seconds * song.rate))
    sounds = (song.mixture[:, within], estimate[:, within], song.targets[excerpt.stem][:, within])
    for name, sound in zip(SOUNDS, sounds, strict=True):
        write(folder / excerpt.sound(name), resample(sound[:2], song.rate, RATE), RATE, "opus")
    spectrograms(
        folder / excerpt.picture,
        sounds[0],
        {excerpt.stem: sounds[1]},
        song.rate,
        title=f"{song.name}, {excerpt.stem}",
        references={excerpt.stem: sounds[2]},
    )
