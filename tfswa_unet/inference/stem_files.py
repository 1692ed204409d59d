"""The files of one song's stems, which appear under their names together or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from tfswa_unet.audio import FORMATS, Writer
from tfswa_unet.errors import AudioError

Clip = Literal["none", "shared", "clamp"]
CLIPS = ("none", "shared", "clamp")

_SPOOL_SAMPLES = 1 << 18


class StemFiles:
    """Writers of one song's stems; made by `open_stem_files`.

    With clip "shared" the samples go to temporary float files first, since the gain that keeps the loudest stem below
    full scale is known only at the end.
    """

    def __init__(self, writers: Mapping[str, Writer], channels: int, clip: Clip, spools: Mapping[str, Path]) -> None:
        self._writers, self._channels, self._clip, self._spools = writers, channels, clip, spools
        self._peak = 0.0

    @property
    def gain(self) -> float:
        """What all stems are multiplied with: below one only where "shared" had to turn them down."""
        return min(1.0, 1.0 / self._peak) if self._peak else 1.0

    def write(self, stems: Mapping[str, np.ndarray]) -> None:
        """Write a block (c, t) of every stem."""
        for name, block in stems.items():
            if self._clip == "shared":
                self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
                self._spool(self._spools[name], block)
            else:
                self._writers[name].write(np.clip(block, -1, 1) if self._clip == "clamp" else block)

    def _spool(self, path: Path, block: np.ndarray) -> None:
        try:
            with open(path, "ab") as spool:
                np.ascontiguousarray(block.T, np.float32).tofile(spool)
        except OSError as error:
            raise AudioError(f"{path.parent.parent}: no room for temporary files ({error}): free some space") from error

    def finish(self) -> None:
        """Bring what was spooled to its files."""
        for name, spool in self._spools.items() if self._clip == "shared" else ():
            with open(spool, "rb") as file:
                while len(samples := np.fromfile(file, np.float32, _SPOOL_SAMPLES * self._channels)):
                    self._writers[name].write(samples.reshape(-1, self._channels).T * np.float32(self.gain))
            spool.unlink()


@contextmanager
def open_stem_files(
    paths: Mapping[str, Path],
    rate: int,
    channels: int,
    format: str = "wav32f",
    clip: Clip = "none",
    tags: Mapping[str, str] | None = None,
) -> Iterator[StemFiles]:
    """Open the files of a song's stems; they get their names when the block is left without an error.

    Args:
        paths: file of each stem; folders are made as needed.
        rate: Hz.
        channels: of every stem.
        format: a key of `audio.FORMATS`.
        clip: what to do above full scale: leave it ("none"), turn all stems down by one gain ("shared") or cut it off
            ("clamp").
        tags: written into every file.
    """
    # Beside the final files, so that moving them there is renaming, which cannot stop half-way.
    folder = nearest_folder(next(iter(paths.values())))
    with tempfile.TemporaryDirectory(prefix=".tfswa-", dir=folder) as temporary, ExitStack() as stack:
        parts = {name: Path(temporary, f"{i}{FORMATS[format].extension}") for i, name in enumerate(paths)}
        spools = {name: Path(temporary, f"{i}.f32") for i, name in enumerate(paths)}
        writers = {
            name: stack.enter_context(Writer(part, rate, channels, format, tags=dict(tags or {})))
            for name, part in parts.items()
        }
        files = StemFiles(writers, channels, clip, spools if clip == "shared" else {})
        yield files
        files.finish()
        stack.close()
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(parts[name], path)


def nearest_folder(path: Path) -> Path:
    """The innermost folder above `path` that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())
