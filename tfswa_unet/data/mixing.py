"""Where the stems of one training example come from: one song, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from tfswa_unet.errors import ConfigError, unknown

MODES = ("song", "random", "aligned")


@dataclass(frozen=True)
class Crop:
    """A place in a data set: the number of a track and the sample there at which the crop starts."""

    track: int
    start: int


@dataclass(frozen=True)
class Mixing:
    """How the crops of one example are drawn.

    mode: "song" takes all stems from one place of one song, "random" each from another song and place, "aligned" each
        from another song at the same relative place, so that an introduction meets introductions.
    p: probability of `mode`; the remaining examples are whole songs.
    mix_audio: probability, per stem, that a second crop of the same stem is added to the first: the mix-audio
        augmentation of the TFSWA-UNet paper, which makes a choir of two singers.
    """

    mode: str = "song"
    p: float = 1.0
    mix_audio: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("mixing.mode", self.mode, MODES)
        for key in ("p", "mix_audio"):
            value = getattr(self, key)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"mixing.{key} is {value!r}, expected a probability from 0 to 1.")

    @classmethod
    def from_config(cls, config: Mapping[str, object] | None) -> Mixing:
        """Return the mixing of a mapping of its fields; raises ConfigError for an unknown or impossible one."""
        known = [field.name for field in fields(cls)]
        for key in config or {}:
            if key not in known:
                raise unknown("setting of mixing", key, known)
        return cls(**dict(config or {}))  # type: ignore[arg-type]

    def draw(self, rng: np.random.Generator, lengths: Sequence[int], size: int, stems: int) -> list[list[Crop]]:
        """Return for each of `stems` stems the crops to sum, one or two, from tracks of `lengths` samples.

        Every crop lies inside its track, or starts at 0 where the track is shorter than `size` samples.
        """
        mode = self.mode if rng.random() < self.p else "song"
        tracks = rng.choice(len(lengths), stems, replace=len(lengths) < stems)
        places = rng.random(stems)
        if mode == "song":
            tracks[:] = tracks[0]
        if mode != "random":
            places[:] = places[0]
        crops = [[_crop(int(track), float(place), lengths, size)] for track, place in zip(tracks, places, strict=True)]
        for stem in np.flatnonzero(rng.random(stems) < self.mix_audio):
            crops[stem].append(_crop(int(rng.integers(len(lengths))), rng.random(), lengths, size))
        return crops


def _crop(track: int, place: float, lengths: Sequence[int], size: int) -> Crop:
    return Crop(track, int(place * (max(lengths[track] - size, 0) + 1)))
