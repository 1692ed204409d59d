"""The kinds of data sets: how each lies on disk, how it is recognised there, and who lists its songs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.config import Registry
from tfswa_unet.data.sets.songs import Song
from tfswa_unet.errors import DataError

AUTO = "auto"  # the kind that looks which it is
Lister = Callable[..., list[Song]]
# Each maps the root of a data set, and its options by keyword, to its songs.
DATA_SETS: Registry[Lister] = Registry("data.kind", positional=1)
LAYOUTS: dict[str, Layout] = {}


@dataclass(frozen=True)
class Layout:
    """How the songs of one kind of data set lie on disk.

    Args:
        expected: the files and folders under the root, in words.
        is_at: whether a data set at a root is of this kind.
        rank: kinds of a lower rank are tried first where the kind is "auto".
        official: whether songs of MUSDB18 are among them, so that MUSDB18's own validation songs apply.
    """

    expected: str
    is_at: Callable[[Path], bool]
    rank: int
    official: bool = False

    @property
    def has_split_folders(self) -> bool:
        """Whether a song is in the split whose folder it lies in."""
        return "train|" in self.expected


def data_set(
    name: str, expected: str, is_at: Callable[[Path], bool], rank: int, official: bool = False
) -> Callable[[Lister], Lister]:
    """Decorate the lister of a kind of data set: `name` chooses it from now on. See `Layout` for the rest."""

    def register(lister: Lister) -> Lister:
        LAYOUTS[name] = Layout(expected, is_at, rank, official)
        return DATA_SETS.register(name)(lister)

    return register


def kinds() -> tuple[str, ...]:
    """The kinds of data sets in the order in which "auto" tries them, and "auto" itself."""
    return (*sorted(LAYOUTS, key=lambda kind: (LAYOUTS[kind].rank, kind)), AUTO)


def detect(root: Path) -> str:
    """The kind of the data set at `root`; raises DataError where there is none."""
    kind = next((kind for kind in kinds()[:-1] if LAYOUTS[kind].is_at(root)), None)
    if kind is None:
        what = "is neither a folder nor a table of songs" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}: give a folder of songs, or their table (.csv, .json).")
    return kind
