"""MUSDB18, MUSDB18-HQ and DSD100, which share their songs."""

from __future__ import annotations

import warnings
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tfswa_unet.data.sets.songs import Song, attempt, entries
from tfswa_unet.errors import DataError
from tfswa_unet.types import SPLITS, STEMS, Source, Split

STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
SUFFIX = ".stem.mp4"


@cache
def validation_names() -> frozenset[str]:
    """Return the names of the 14 training songs that MUSDB18 sets aside for validation.

    They are read from the musdb package without importing it, which would need ffmpeg on the path.
    """
    spec = find_spec("musdb")
    if spec is None or spec.origin is None:
        warnings.warn("musdb is not installed, so MUSDB18's 14 validation songs are unknown here.", stacklevel=2)
        return frozenset()
    config = Path(spec.origin).parent / "configs" / "mus.yaml"
    return frozenset(yaml.safe_load(config.read_text(encoding="utf-8"))["validation_tracks"])


def list_musdb18(root: Path) -> list[Song]:
    """Return the songs of root/train|valid|test/*.stem.mp4, five audio streams a file."""
    return [
        Song(
            name=path.name.removesuffix(SUFFIX),
            split=split,
            sources={stem: Source(path, STREAMS[stem]) for stem in STEMS},
            mixture=Source(path, STREAMS["mixture"]),
        )
        for split in SPLITS
        for path in entries(root / split)
        if path.name.endswith(SUFFIX)
    ]


def list_musdb18hq(root: Path) -> list[Song]:
    """Return the songs of root/train|valid|test/<song>/{vocals,drums,bass,other}.wav, mixture.wav being optional.

    A song that lacks a stem carries the fault.
    """
    found = (
        attempt(folder.name, split, partial(_hq_song, folder, split))
        for split in SPLITS
        for folder in entries(root / split)
    )
    return [song for song in found if song is not None]


def _hq_song(folder: Path, split: Split) -> Song | None:
    found = {path.stem: Source(path) for path in entries(folder) if path.suffix == ".wav"}
    missing = [stem for stem in STEMS if stem not in found]
    if len(missing) == len(STEMS):
        return None
    if missing:
        raise DataError(
            f"The song {folder} lacks {', '.join(f'{stem}.wav' for stem in missing)}: put the files back, "
            "or set data.kind=folders, which takes a missing stem as silence."
        )
    return Song(folder.name, split, {stem: found[stem] for stem in STEMS}, found.get("mixture"))


DSD100_SPLITS: dict[str, Split] = {"Dev": "train", "Test": "test"}


def is_dsd100(root: Path) -> bool:
    """Say whether `root` looks like DSD100."""
    return any((root / "Sources" / folder).is_dir() for folder in DSD100_SPLITS)


def list_dsd100(root: Path) -> list[Song]:
    """Return the songs of root/Sources/Dev|Test/<song>/{vocals,drums,bass,other}.wav.

    root/Mixtures/Dev|Test/<song>/mixture.wav is optional. A song that lacks a stem carries the fault.
    """
    found = [
        attempt(folder.name, split, partial(_song, root, folder, split))
        for part, split in DSD100_SPLITS.items()
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
