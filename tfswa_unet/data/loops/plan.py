"""What a set of songs from loops is made with, as it says itself in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.errors import DataError
from tfswa_unet.types import Split

MANIFEST = "loops.json"
BUILDER = 1  # raised whenever the same seed and samples give other songs
RATE = 44_100  # Hz
SHARE = 10  # one song in so many validates
SLOWEST, FASTEST = 40.0, 240.0  # bpm


@dataclass(frozen=True)
class Plan:
    """Number of songs, their length in s, the seed, the slowest and fastest tempo in bpm, and the samples' digest."""

    songs: int
    seconds: float
    seed: int
    slowest: float
    fastest: float
    samples: str
    builder: int = BUILDER

    def __post_init__(self) -> None:
        if self.songs < 1:
            raise DataError(f"{self.songs} songs were asked for; ask for 1 or more")
        if not 1 <= self.seconds < float("inf"):
            raise DataError(f"a song of {self.seconds:g} s cannot be made; give at least 1 s")
        if self.seed < 0:
            raise DataError(f"the seed is {self.seed}; give 0 or more")
        if not SLOWEST <= self.slowest <= self.fastest <= FASTEST:
            raise DataError(
                f"tempos from {self.slowest:g} to {self.fastest:g} bpm were asked for; give a range within "
                f"{SLOWEST:g}-{FASTEST:g}, the slower first"
            )

    @property
    def frames(self) -> int:
        """Samples per channel of a song."""
        return round(self.seconds * RATE)

    def split(self, index: int) -> Split:
        """The split of a song: a tenth validate, the last ones, and one at least where there are two songs."""
        valid = max(1, self.songs // SHARE) if self.songs > 1 else 0
        return "valid" if index >= self.songs - valid else "train"

    def folder(self, out: Path, index: int) -> Path:
        """Where a song lies."""
        return out / self.split(index) / f"loops-{index + 1:05d}"


def parse_bpm(text: str) -> tuple[float, float]:
    """Return the slowest and fastest tempo of a text such as "90-140" or "120"; raises DataError for another."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:-\s*(\d+(?:\.\d+)?)\s*)?", text)
    if not found:
        raise DataError(f"the tempos are {text!r}; give a range such as 90-140, or one tempo such as 120")
    return float(found[1]), float(found[2] or found[1])
