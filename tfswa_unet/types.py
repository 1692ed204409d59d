"""The axis legend and the records that the rooms hand to each other.

One letter an axis, in this order wherever several stand together:

    b batch   s stem   c channel   k subband   d feature   n frame   f bin   t sample

Waveforms are (b, c, t), stems of a mixture (b, s, c, t), spectrograms (b, c, n, f): frames before bins, always.
Tokens inside the network are channels-last, (b, n, f, d). Audio outside torch is a NumPy float32 array (c, t)
with full scale at ±1. Lengths and positions are in samples per channel, rates in Hz, levels in dB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
STEMS = ("vocals", "drums", "bass", "other")  # of MUSDB18, and of everything that says nothing else
MIXTURE = "mixture"  # the sum of a song's stems: its file, its column, its row in tables


@dataclass(frozen=True)
class Source:
    """Where one stem's audio lies: a stretch of one audio stream of a file, to which the stretches in `more` are added.

    The stretch is `length` samples (None: its track's) from sample `start` of the file on; silence follows where that
    is less than the track. `data.sources.read_source` reads it all.
    """

    path: Path
    stream: int = 0
    start: int = 0
    length: int | None = None
    more: tuple[Source, ...] = ()

    @property
    def parts(self) -> tuple[Source, ...]:
        """Every stretch that is summed; of the first of them only its own fields count."""
        return (self, *self.more)


@dataclass(frozen=True)
class Track:
    """One song of a data set: its stems, which begin together.

    `sources` maps a stem's name to its audio; `mixture` is the mixed file where the data set ships one
    (training never reads it: the mixture is the sum of the stems). Where several data sets are mixed, `collection`
    names the track's, and `weight` is how often that one is drawn from, relative to the others.
    """

    name: str
    split: Split
    rate: int  # Hz
    length: int  # samples per channel
    sources: Mapping[str, Source]
    mixture: Source | None = None
    collection: str = ""
    weight: float = 1.0


class StemModel(Protocol):
    """What separation needs of a model, whatever network is inside.

    Calling it maps mixtures (b, c, t) at `rate` Hz to stems (b, s, c, t), s in the order of `stems`.
    """

    stems: tuple[str, ...]
    rate: int
    channels: int

    def __call__(self, mixture: Tensor) -> Tensor: ...
