"""Stems that any tool has written, to be scored as a model's are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfswa_unet import audio
from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data.reading import match_channels
from tfswa_unet.data.stems import REST as THE_REST
from tfswa_unet.errors import DataError
from tfswa_unet.evaluation.tracks import Audio, ScoredTrack, file_name
from tfswa_unet.types import MIXTURE, STEMS

RESTS = ("accompaniment", "instrumental", "no_vocals", THE_REST)  # names for all that no other stem holds
SLACK = 0.1  # s that a stem may be longer or shorter than its song, as after a lossy encoder


@dataclass(frozen=True)
class SavedStems:
    """Estimates as files: folder/<song>/<stem>.<ext>, as `tfswa separate` and most others lay them out.

    Raises:
        DataError: where it is no folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise DataError(f"estimates={self.folder} is not a folder: expected SONG/STEM.wav in one")

    @cached_property
    def files(self) -> dict[str, dict[str, Path]]:
        """Files by song and stem."""
        found: dict[str, dict[str, Path]] = {}
        for path in sorted(self.folder.glob("*/*")):
            if path.suffix.lower() in SUFFIXES and path.stem.lower() != MIXTURE and not path.name.startswith("."):
                found.setdefault(path.parent.name, {})[path.stem.lower()] = path
        return found

    def plan(self, songs: Iterable[str]) -> dict[str, list[str] | str]:
        """Stems that every one of these songs has, as `StemPlan.from_config` takes them.

        Raises:
            DataError: a song has no stems, or other stems than the first.
        """
        names: dict[str, None] | None = None
        for song in songs:
            there = dict.fromkeys(self.files.get(file_name(song), {}))
            if not there:
                known = ", ".join(list(self.files)[:3]) or "nothing"
                raise DataError(
                    f"{self.folder} has no stems for the song {song!r}, but {known}: name folders as songs are"
                )
            if names is not None and set(there) != set(names):
                raise DataError(
                    f"{self.folder / file_name(song)} holds {', '.join(there)}, other songs {', '.join(names)}: make "
                    "them alike"
                )
            names = names or there
        order = [stem for stem in STEMS if stem in (names or {})]
        order += [stem for stem in names or {} if stem not in order]
        return {stem: THE_REST if stem in RESTS else [stem] for stem in order}

    def read(self, song: ScoredTrack) -> Mapping[str, Audio]:
        """Stems (c, t) of a song, cut or filled up with silence where a lossy encoder has changed their length.

        Raises:
            AudioError: for a file that cannot be read.
            DataError: for another rate, another number of channels, or another length than the song's.
        """
        return {stem: _read(path, song) for stem, path in self.files[file_name(song.name)].items()}

    def state(self, song: ScoredTrack) -> list[list[Any]]:
        """What identifies the stems of a song: their files, sizes and times."""
        return [[stem, str(path), *file_state(path)] for stem, path in self.files[file_name(song.name)].items()]

    def check(self, songs: Iterable[ScoredTrack]) -> None:
        """Look at rates and lengths before anything is scored; raises as `read` does."""
        for song in songs:
            for path in self.files[file_name(song.name)].values():
                _check(path, song)


def file_state(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change in ns: while both stay, a file is taken for the same."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _check(path: Path, song: ScoredTrack) -> int:
    """Samples of a stem that are to be read."""
    info, whole = audio.probe(path), song.track.length
    if info.rate != song.rate:
        raise DataError(f"{path} has {info.rate} Hz, its song {song.rate}: write estimates at the song's rate")
    if abs(info.length - whole) > SLACK * song.rate:
        raise DataError(f"{path} is {info.length} samples long, its song {whole}: write estimates as long as the song")
    return min(info.length, song.length)


def _read(path: Path, song: ScoredTrack) -> Audio:
    found = audio.read(path, 0, _check(path, song))
    channels = song.mixture.shape[0]
    stem = np.zeros((channels, song.length), np.float32)
    stem[:, : found.shape[1]] = match_channels(found, channels, str(path))
    return stem
