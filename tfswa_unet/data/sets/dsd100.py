"""DSD100 (doi:10.1007/978-3-319-53547-0_31): 50 songs to train on and 50 to test with, all of them in MUSDB18 too."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tfswa_unet.data.sets.songs import Song, attempt, entries
from tfswa_unet.errors import DataError
from tfswa_unet.types import Source, Split

STEMS = ("vocals", "drums", "bass", "other")
SPLITS: dict[str, Split] = {"Dev": "train", "Test": "test"}


def is_dsd100(root: Path) -> bool:
    """Say whether `root` looks like DSD100."""
    return any((root / "Sources" / folder).is_dir() for folder in SPLITS)


def list_dsd100(root: Path) -> list[Song]:
    """Return the songs of root/Sources/Dev|Test/<song>/{vocals,drums,bass,other}.wav.

    root/Mixtures/Dev|Test/<song>/mixture.wav is optional. A song that lacks a stem carries the fault.
    """
    found = [
        attempt(folder.name, split, partial(_song, root, folder, split))
        for part, split in SPLITS.items()
        for folder in entries(root / "Sources" / part)
        if folder.is_dir()
    ]
    return [song for song in found if song is not None]


def _song(root: Path, folder: Path, split: Split) -> Song:
    files = {path.stem: Source(path) for path in entries(folder) if path.suffix == ".wav"}
    if missing := [f"{stem}.wav" for stem in STEMS if stem not in files]:
        raise DataError(f"The song {folder} lacks {', '.join(missing)}: put the files back, or remove the folder.")
    mixture = root / "Mixtures" / folder.parent.name / folder.name / "mixture.wav"
    return Song(
        folder.name, split, {stem: files[stem] for stem in STEMS}, Source(mixture) if mixture.is_file() else None
    )
