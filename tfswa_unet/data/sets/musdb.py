"""MUSDB18 (doi 10.5281/zenodo.1117372), MUSDB18-HQ and DSD100, which share their songs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tfswa_unet.data.sets.folders import list_folders
from tfswa_unet.data.sets.layouts import Song, collect, data_set, entries
from tfswa_unet.errors import DataError
from tfswa_unet.types import MIXTURE, SPLITS, STEMS, Source, Split

STREAMS = {MIXTURE: 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
SUFFIX = ".stem.mp4"
DSD100_SPLITS: dict[str, Split] = {"Dev": "train", "Test": "test"}


@cache
def validation_names() -> frozenset[str]:
    """The names of the 14 training songs that MUSDB18 sets aside for validation.

    They are read from the musdb package without importing it, which would need ffmpeg on the path.
    """
    spec = find_spec("musdb")
    if spec is None or spec.origin is None:
        warnings.warn("musdb is not installed, so MUSDB18's 14 validation songs are unknown here.", stacklevel=2)
        return frozenset()
    config = Path(spec.origin).parent / "configs" / "mus.yaml"
    return frozenset(yaml.safe_load(config.read_text(encoding="utf-8"))["validation_tracks"])


def is_musdb18(root: Path) -> bool:
    """Whether `root` looks like MUSDB18."""
    return any(path.name.endswith(SUFFIX) for split in SPLITS for path in entries(root / split))


@data_set("musdb18", "train|test/<song>.stem.mp4", is_musdb18, rank=10, official=True)
def list_musdb18(root: Path) -> list[Song]:
    """List the songs of root/train|valid|test/*.stem.mp4, five audio streams a file."""
    return [
        Song(
            name=path.name.removesuffix(SUFFIX),
            split=split,
            sources={stem: Source(path, STREAMS[stem]) for stem in STEMS},
            mixture=Source(path, STREAMS[MIXTURE]),
        )
        for split in SPLITS
        for path in entries(root / split)
        if path.name.endswith(SUFFIX)
    ]


def is_musdb18hq(root: Path) -> bool:
    """Whether `root` looks like MUSDB18-HQ: split folders, and in them the four stems as wav files, no others."""
    if not any((root / split).is_dir() for split in SPLITS):
        return False
    sources = [source for song in list_folders(root) for source in song.sources.items()]
    return {stem for stem, _ in sources} == set(STEMS) and all(
        source.path.suffix == ".wav" and not source.more for _, source in sources
    )


@data_set("musdb18hq", "train|test/<song>/{vocals,drums,bass,other}.wav", is_musdb18hq, rank=50, official=True)
def list_musdb18hq(root: Path) -> list[Song]:
    """List the songs of root/train|valid|test/<song>/{vocals,drums,bass,other}.wav, mixture.wav being optional.

    A song that lacks a stem carries the fault.
    """
    return collect(
        (folder.name, split, partial(_hq_song, folder, split)) for split in SPLITS for folder in entries(root / split)
    )


def is_dsd100(root: Path) -> bool:
    """Whether `root` looks like DSD100."""
    return any((root / "Sources" / folder).is_dir() for folder in DSD100_SPLITS)


@data_set("dsd100", "Sources/Dev|Test/<song>/{vocals,drums,bass,other}.wav", is_dsd100, rank=20, official=True)
def list_dsd100(root: Path) -> list[Song]:
    """List the songs of root/Sources/Dev|Test/<song>/{vocals,drums,bass,other}.wav.

    root/Mixtures/Dev|Test/<song>/mixture.wav is optional. A song that lacks a stem carries the fault.
    """
    return collect(
        (folder.name, split, partial(_dsd100_song, root, folder, split))
        for part, split in DSD100_SPLITS.items()
        for folder in entries(root / "Sources" / part)
        if folder.is_dir()
    )


def _hq_song(folder: Path, split: Split) -> Song | None:
    files = _wavs(folder)
    if not any(stem in files for stem in STEMS):
        return None
    way_on = "or set data.kind=folders, which takes a missing stem as silence"
    return Song(folder.name, split, _four(folder, files, way_on), files.get(MIXTURE))


def _dsd100_song(root: Path, folder: Path, split: Split) -> Song:
    mixtures = _wavs(root / "Mixtures" / folder.parent.name / folder.name)
    sources = _four(folder, _wavs(folder), "or remove the folder")
    return Song(folder.name, split, sources, mixtures.get(MIXTURE))


def _wavs(folder: Path) -> dict[str, Source]:
    return {path.stem: Source(path) for path in entries(folder) if path.suffix == ".wav"}


def _four(folder: Path, files: Mapping[str, Source], way_on: str) -> dict[str, Source]:
    if missing := [f"{stem}.wav" for stem in STEMS if stem not in files]:
        raise DataError(f"The song {folder} lacks {', '.join(missing)}: put the files back, {way_on}.")
    return {stem: files[stem] for stem in STEMS}
