"""Mixing: random choice of the songs and places that the stems of one example come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np

from tfswa_unet.data.tempo_key import TempoKey
from tfswa_unet.errors import ConfigError

Mode = Literal["song", "random", "aligned", "matched"]
KEY_DISTANCES = range(8)  # steps that two keys may lie apart, 6 around the circle and one over to the relative key
LEAST = 1e-9  # share of all chances below which what is left counts as nothing


@dataclass(frozen=True)
class Mixing:
    """Random choice of songs and places for the stems of one example; see data.mixing in conf/data/_loading.yaml.

    mode: of the share `p` of the examples; the others are whole songs. "aligned" takes each stem from the same relative
        place, so that an introduction meets introductions.
    mix_audio: probability of the mix-audio augmentation of the TFSWA-UNet paper, which makes a choir of two singers.
    redraw: probability for silent stems, but not in whole songs: a model has to learn rests too, and only there do they
        stand where music puts them.
    silence_db: dB full scale, RMS over the segment.
    tempo_tolerance: share of the slower tempo.
    key_distance: steps on the circle of fifths, of which going over to the relative key is one.
    """

    mode: Mode
    p: float
    mix_audio: float
    redraw: float
    silence_db: float
    tempo_tolerance: float
    key_distance: int

    def __post_init__(self) -> None:
        expected = {
            "p": (0 <= self.p <= 1, "a probability from 0 to 1"),
            "mix_audio": (0 <= self.mix_audio <= 1, "a probability from 0 to 1"),
            "redraw": (0 <= self.redraw <= 1, "a probability from 0 to 1"),
            "silence_db": (isfinite(self.silence_db) and self.silence_db <= 0, "a level of at most 0 dB, such as -60"),
            "tempo_tolerance": (isfinite(self.tempo_tolerance) and self.tempo_tolerance >= 0, "a share such as 0.06"),
            "key_distance": (self.key_distance in KEY_DISTANCES, "a whole number of steps from 0 to 7"),
        }
        for key, (holds, what) in expected.items():
            if not holds:
                raise ConfigError(f"data.mixing.{key} is {getattr(self, key):g}, expected {what}.")

    @property
    def needs_tempo_keys(self) -> bool:
        """Whether the tempo and key of every track have to be known."""
        return self.mode == "matched" and self.p > 0


@dataclass(frozen=True)
class Crop:
    """Number of a track, and the sample at which a crop of it starts."""

    track: int
    start: int


@dataclass
class Mix:
    """Crops of one example: for each stem one or two, to be summed.

    `place` is the relative place that "aligned" stems share and `reference` the track that "matched" ones go with.
    """

    mode: Mode
    crops: list[list[Crop]]
    place: float = 0.0
    reference: int | None = None

    @property
    def is_song(self) -> bool:
        """Whether this is a whole song."""
        return self.mode == "song"


class Mixer:
    """Random mixes of tracks of `lengths` samples, in crops of `size` samples.

    Every crop lies inside its track, or starts at 0 where that is shorter. `chances` say how likely each track is
    drawn: first those for a whole song, then those of every stem. `tempo_keys` are those of every track; raises
    ConfigError where they are missing for a mode that needs them.
    """

    def __init__(
        self,
        mixing: Mixing,
        lengths: Sequence[int],
        size: int,
        chances: Sequence[np.ndarray],
        tempo_keys: Sequence[TempoKey] | None = None,
    ) -> None:
        if mixing.needs_tempo_keys and tempo_keys is None:
            raise ConfigError(
                "data.mixing.mode=matched needs the tempo and key of every track: give "
                "tempo_keys=estimate_tempo_keys(tracks)."
            )
        self.mixing = mixing
        self._lengths, self._size = lengths, size
        self._chances = chances
        self._sums = [np.cumsum(row) for row in chances]
        self._matches = Matches(tempo_keys or (), mixing.tempo_tolerance, mixing.key_distance)

    def draw(self, rng: np.random.Generator) -> Mix:
        """Draw the crops of one example."""
        stems = range(len(self._sums) - 1)
        if rng.random() >= self.mixing.p or self.mixing.mode == "song":
            crop = self._crop(weighted_choice(rng, self._sums[0]), rng.random())
            mix = Mix("song", [[crop] for _ in stems])
        else:
            mix = Mix(self.mixing.mode, [[] for _ in stems], rng.random())
            first = int(rng.integers(len(stems)))
            for stem in (first, *(stem for stem in stems if stem != first)):
                mix.crops[stem] = [self._other(rng, mix, stem)]
                if mix.mode == "matched" and stem == first:
                    mix.reference = mix.crops[stem][0].track
        for stem in stems:
            if rng.random() < self.mixing.mix_audio:
                mix.crops[stem].append(self._crop(self._track(rng, mix, stem), rng.random()))
        return mix

    def redraw(self, rng: np.random.Generator, mix: Mix, stem: int) -> None:
        """Draw the crops of one stem of a mix again, which is not a whole song."""
        count, mix.crops[stem] = len(mix.crops[stem]), []
        mix.crops[stem] = [self._other(rng, mix, stem) for _ in range(count)]

    def _other(self, rng: np.random.Generator, mix: Mix, stem: int) -> Crop:
        """A crop of a song that no other stem has, where there is one."""
        used = {crops[0].track for crops in mix.crops if crops}
        place = mix.place if mix.mode == "aligned" else rng.random()
        return self._crop(self._track(rng, mix, stem, used), place)

    def _track(self, rng: np.random.Generator, mix: Mix, stem: int, used: Collection[int] = ()) -> int:
        if mix.reference is not None:
            fitting = np.cumsum(self._chances[1 + stem] * self._matches.of(mix.reference))
            if fitting[-1] > 0:
                return weighted_choice(rng, fitting, used)
        return weighted_choice(rng, self._sums[1 + stem], used)

    def _crop(self, track: int, place: float) -> Crop:
        return Crop(track, int(place * (max(self._lengths[track] - self._size, 0) + 1)))


class Matches:
    """Songs of similar tempo and compatible key, within the tolerances of `Mixing`.

    Where a song's tempo or key is unknown, any other's fits, so that no song is left out of training.
    """

    def __init__(self, tempo_keys: Sequence[TempoKey], tempo_tolerance: float, key_distance: int) -> None:
        tempos = [np.nan if each.tempo is None else each.tempo for each in tempo_keys]
        self._octaves = np.log2(np.array(tempos, float))
        self._fifths = np.array([np.nan if each.key is None else each.key.fifths for each in tempo_keys], float)
        self._minor = np.array([each.key is not None and each.key.minor for each in tempo_keys], bool)
        self._tempo_tolerance = np.log2(1 + tempo_tolerance)
        self._key_distance = key_distance

    def of(self, track: int) -> np.ndarray:
        """Whether each song matches number `track`, (tracks,) booleans; no song matches itself."""
        apart = np.abs(self._octaves - self._octaves[track]) % 1
        around = np.abs(self._fifths - self._fifths[track])
        steps = np.minimum(around, 12 - around) + (self._minor != self._minor[track])
        # What is not known is NaN, which is no more than anything.
        fits = ~(np.minimum(apart, 1 - apart) > self._tempo_tolerance) & ~(steps > self._key_distance)
        fits[track] = False
        return fits


def weighted_choice(rng: np.random.Generator, sums: np.ndarray, used: Collection[int] = ()) -> int:
    """Random choice of k by cumulative weights, `sums[k] - sums[k - 1]` each; none of `used` where others are left.

    One draw and one search, however many there are: the stretches of those used are taken out of the line and jumped
    over.
    """
    gaps = [(float(sums[k - 1]) if k else 0.0, float(sums[k])) for k in sorted(used)]
    total = float(sums[-1])
    left = total - sum(end - start for start, end in gaps)
    if left <= LEAST * total:
        gaps, left = [], total
    at = rng.random() * left
    for start, end in gaps:
        if at >= start:
            at += end - start
    # Rounding may lead past the end, behind which lie only numbers without a chance.
    last = int(np.searchsorted(sums, total))
    return min(int(np.searchsorted(sums, at, side="right")), last)
