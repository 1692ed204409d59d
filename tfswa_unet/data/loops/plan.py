"""What a set of songs from loops is made with, and the file in which it says so."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfswa_unet.errors import DataError
from tfswa_unet.files import write_text
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


def claim(out: Path, plan: Plan) -> None:
    """Write the plan into a new or empty folder, or accept the same plan that lies there.

    Raises:
        DataError: the folder holds anything else, or cannot be made.
    """
    manifest = out / MANIFEST
    try:
        if manifest.exists():
            return _compare(manifest, asdict(plan))
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out} holds other files (there is no {MANIFEST}): choose an empty folder")
        out.mkdir(parents=True, exist_ok=True)
        write_text(manifest, json.dumps(asdict(plan), indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{out} cannot take songs ({error.strerror}): choose a folder that you can write to") from error


def _compare(manifest: Path, asked: dict[str, Any]) -> None:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{manifest} cannot be read as JSON: choose another folder, or delete {manifest.parent} and start anew"
        )
    differences = [
        f"{key} {found.get(key)} where {value} is asked for" for key, value in asked.items() if found.get(key) != value
    ]
    if differences:
        raise DataError(
            f"{manifest.parent} holds other songs, {', '.join(differences)}: choose another folder, ask for what it "
            "holds, or delete it"
        )
