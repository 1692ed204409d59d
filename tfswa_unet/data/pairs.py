"""Songs without stems: tracks whose only source is the mixture, and pairs of segments of one song."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from tfswa_unet.data.augmentation import Compose
from tfswa_unet.data.mixing import Crop, Mixing, weighted_choice
from tfswa_unet.data.segments import SegmentDataset
from tfswa_unet.data.stems import StemPlan
from tfswa_unet.data.tempo_key import TempoKey
from tfswa_unet.data.tracks import OnError, chances
from tfswa_unet.types import MIXTURE, Track

PLAN = StemPlan(((MIXTURE, (MIXTURE,)),))  # what is read of such tracks
PAIR = 2  # segments of an example


def unlabelled(tracks: Iterable[Track]) -> list[Track]:
    """The same tracks with one source, the mixture: its file where they have one, or else the sum of their stems."""
    mixtures = []
    for track in tracks:
        parts = [part for source in track.sources.values() for part in source.parts]
        mixture = track.mixture or replace(parts[0], more=tuple(parts[1:]))
        mixtures.append(replace(track, sources={MIXTURE: mixture}, mixture=None))
    return mixtures


class SongPairs(SegmentDataset):
    """Random pairs (2, c, t) of segments of one song, whose places have nothing to do with each other.

    Each is drawn from (seed, epoch, index) alone. Arguments, errors and what else is said are those of
    `SegmentDataset`, for tracks that `unlabelled` gives; two examples of a batch may be of one song by chance.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        seconds: float,
        rate: int,
        channels: int,
        seed: int,
        length: int,
        mixing: Mixing,
        on_error: OnError = "raise",
        augmentation: Compose | None = None,
    ) -> None:
        unknown = [TempoKey(None, None)] * len(tracks)
        super().__init__(tracks, PLAN, seconds, rate, channels, seed, length, mixing, on_error, unknown, augmentation)
        self.shape = PAIR, channels, self.size
        self._sums = np.cumsum(chances(tracks, range(len(tracks))))

    def _draw(self, example: Tensor, rng: np.random.Generator) -> Tensor:
        track = weighted_choice(rng, self._sums)
        room = max(self.reader.lengths[track] - self.size, 0) + 1
        for samples in example.numpy():
            self._read(samples, 0, [Crop(track, int(rng.random() * room))])
        return example
