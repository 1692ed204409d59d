"""What the examination of a song finds out, before anything is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfswa_unet.data.sets.songs import Song
from tfswa_unet.types import Source

MIXTURE = "mixture"


@dataclass(frozen=True)
class FileFacts:
    """One audio stream as it was decoded to its end; a record of NaN and infinity counts both, and zeros them."""

    rate: int  # Hz
    channels: int
    length: int  # samples per channel
    codec: str
    nonfinite: int  # samples that are NaN or infinite
    first_nonfinite: int  # sample; 0 where there is none
    peak: float  # full scale is 1
    offset: float  # the mean of the channel that is furthest from zero
    clipped: int  # runs of equal samples at full scale
    first_clipped: int  # sample
    envelope: np.ndarray  # (2, frames): RMS of the sound and of its slope
    digest: str  # of the decoded samples


@dataclass(frozen=True)
class SumFacts:
    """The mixture beside the sum of the stems, in dB of the mixture's energy."""

    residual: float  # mixture less sum
    gain: float  # of the sum where it comes nearest to the mixture
    residual_at_gain: float  # mixture less the sum at that gain


@dataclass(frozen=True)
class SongFacts:
    """A song's files: those that were decoded, those that could not be and why, and whether they add up."""

    song: Song
    files: Mapping[str, FileFacts]
    unreadable: Mapping[str, str]
    sum: SumFacts | None = None


def files(song: Song) -> dict[str, Source]:
    """Return every file of a song by its stem's name, the mixture last; "stem (file)" where a stem has several."""
    stems = {**song.sources, **({MIXTURE: song.mixture} if song.mixture else {})}
    return {
        stem if not source.more else f"{stem} ({part.path.name})": part
        for stem, source in stems.items()
        for part in source.parts
    }
