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


@dataclass(frozen=True)
class Source:
    """Where one stem's audio lies: a file, and which of its audio streams."""

    path: Path
    stream: int = 0


@dataclass(frozen=True)
class Track:
    """One song of a data set: its stems as files of equal length.

    `sources` maps a stem's name to its file; `mixture` is the mixed file where the data set ships one
    (training never reads it: the mixture is the sum of the stems).
    """

    name: str
    split: Split
    rate: int  # Hz
    length: int  # samples per channel
    sources: Mapping[str, Source]
    mixture: Source | None = None


class StemModel(Protocol):
    """What separation needs of a model, whatever network is inside.

    Calling it maps mixtures (b, c, t) at `rate` Hz to stems (b, s, c, t), s in the order of `stems`.
    """

    stems: tuple[str, ...]
    rate: int
    channels: int

    def __call__(self, mixture: Tensor) -> Tensor: ...
