"""Arrays into audio files, block by block, under the final name only when complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from tfswa_unet.audio.encode import Sink, open_sink
from tfswa_unet.audio.faults import check_finite
from tfswa_unet.audio.formats import check_format
from tfswa_unet.errors import AudioError


class Writer:
    """Write an audio file in blocks (c, t), as a context manager; rate in Hz.

    The file grows under a temporary name in its folder and takes its own when the block of `with` ends well; after
    an exception nothing is left. wav and flac read back as exactly the samples written (rounded to 16 or 24 bits,
    without dither); mp3, ogg, opus and m4a read back in the length written, their delay and padding declared (an mp3 of
    less than 47 samples gives 47).
    `clipped` counts the samples beyond ±1 that an integer format cut; float and lossy formats keep such levels.

    Raises:
        AudioError: what `check_format` refuses, a folder that is missing or not writable, NaN or infinity in a
            block, no samples at all, a full disk.
    """

    def __init__(
        self,
        path: str | Path,
        rate: int,
        channels: int,
        format: str = "wav32f",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.rate = rate
        self.channels = channels
        self.format = check_format(format, rate, channels)
        self.written = 0
        self._tags = dict(tags or {})
        self._partial = self.path.with_name(f".{secrets.token_hex(8)}.part")
        self._sink: Sink | None = None
        _check_writable(self.path)

    @property
    def clipped(self) -> int:
        """How many samples were cut to full scale so far."""
        return 0 if self._sink is None else self._sink.clipped

    def __enter__(self) -> Writer:
        try:
            self._sink = open_sink(self._partial, self.format, self.rate, self.channels, self._tags)
        except Exception as error:
            self._partial.unlink(missing_ok=True)
            raise self._failure(error) from error
        return self

    def write(self, block: np.ndarray) -> None:
        """Append a block (c, t)."""
        if self._sink is None:
            raise RuntimeError("a Writer writes inside its `with` block only")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise AudioError(f"{self.path}: a block of shape {block.shape} was given, ({self.channels}, t) is expected")
        check_finite(block, self.path, self.written, self.rate)
        try:
            self._sink.write(block.astype(np.float32, copy=False))
        except Exception as error:
            raise self._failure(error) from error
        self.written += block.shape[1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._sink is not None
        try:
            try:
                self._sink.close()
            except Exception as failure:
                if kind is None:
                    raise self._failure(failure) from failure
            if kind is None:
                if self.written == 0:
                    raise AudioError(f"{self.path}: no samples were written, so there is no file: write at least one")
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> AudioError:
        return AudioError(
            f"{self.path}: cannot be written as {self.format.name} ({error or type(error).__name__}): "
            "check the space left on the disk and the folder's permissions"
        )


def write(
    path: str | Path,
    audio: np.ndarray,
    rate: int,
    format: str = "wav32f",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write audio (c, t) to a file at once; rate in Hz. As `Writer`, which also counts clipped samples."""
    if audio.ndim != 2:
        raise AudioError(f"{path}: audio of shape {audio.shape} was given, (c, t) is expected")
    with Writer(path, rate, audio.shape[0], format, tags) as writer:
        writer.write(audio)


def _check_writable(path: Path) -> None:
    folder = path.parent
    if path.is_dir():
        raise AudioError(f"{path}: is a folder where a file is to be written: name a file in it")
    if not folder.is_dir():
        raise AudioError(f"{path}: its folder {folder} does not exist: create it or choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AudioError(f"{path}: its folder {folder} is not writable: change its permissions or choose another")
