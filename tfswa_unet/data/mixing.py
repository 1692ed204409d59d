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

    def draw(
        self,
        rng: np.random.Generator,
        lengths: Sequence[int],
        size: int,
        stems: int,
        chances: Sequence[np.ndarray] | None = None,
    ) -> list[list[Crop]]:
        """Return for each of `stems` stems the crops to sum, one or two, from tracks of `lengths` samples.

        Every crop lies inside its track, or starts at 0 where the track is shorter than `size` samples. `chances` say
        how likely each track is drawn: first those for a whole song, then those of every stem; all alike by default.
        """
        if chances is None:
            chances = [np.ones(len(lengths))] * (1 + stems)
        mode = self.mode if rng.random() < self.p else "song"
        tracks = [_pick(rng, chances[0])] * stems if mode == "song" else _distinct(rng, chances[1:])
        places = rng.random(stems)
        if mode != "random":
            places[:] = places[0]
        crops = [[_crop(track, float(place), lengths, size)] for track, place in zip(tracks, places, strict=True)]
        for stem in np.flatnonzero(rng.random(stems) < self.mix_audio).tolist():
            crops[stem].append(_crop(_pick(rng, chances[1 + stem]), rng.random(), lengths, size))
        return crops


def _distinct(rng: np.random.Generator, chances: Sequence[np.ndarray]) -> list[int]:
    """A track for each stem, none twice as long as there are others."""
    tracks: list[int] = []
    for row in chances:
        others = row.copy()
        others[tracks] = 0
        tracks.append(_pick(rng, others if others.any() else row))
    return tracks


def _pick(rng: np.random.Generator, chances: np.ndarray) -> int:
    return int(rng.choice(len(chances), p=chances / chances.sum()))


def _crop(track: int, place: float, lengths: Sequence[int], size: int) -> Crop:
    return Crop(track, int(place * (max(lengths[track] - size, 0) + 1)))
