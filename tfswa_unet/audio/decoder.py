"""Opening a file for decoding: what must hold before work begins, and which library decodes it.

libsndfile seeks exactly and fast in wav, flac and Vorbis; FFmpeg, which PyAV carries, decodes everything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from tfswa_unet.audio.container import ContainerDecoder
from tfswa_unet.audio.pcm import PcmDecoder
from tfswa_unet.errors import AudioError

_PCM_MAGIC = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b".snd")


class Decoder(Protocol):
    """One audio stream of one open file, decoded once, front to back."""

    rate: int  # Hz
    channels: int
    streams: int
    codec: str
    tags: dict[str, str]

    def length(self) -> int:
        """Count the samples per channel that decoding gives, as cheaply as the format allows."""

    def chunks(self, start: int, size: int) -> Iterator[np.ndarray]:
        """Decode from sample `start` to the end in pieces (c, t) of about `size` samples (a hint)."""

    def close(self) -> None:
        """Close the file."""


def open_decoder(path: str | Path, stream: int = 0) -> Decoder:
    """Open audio stream `stream` of a file.

    Raises:
        AudioError: no such file, a folder, an empty or unreadable file, no audio in it, no such stream.
    """
    path = Path(path)
    magic = _first_bytes(path)
    if stream < 0:
        raise AudioError(f"{path}: stream is {stream}: audio streams are counted from 0")
    decoder: Decoder | None = PcmDecoder.open(path, stream) if magic.startswith(_PCM_MAGIC) else None
    return decoder or ContainerDecoder(path, stream)


def _first_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file: check the path (working folder: {os.getcwd()})") from None
    except IsADirectoryError:
        raise AudioError(f"{path}: is a folder where an audio file is expected: name one file in it") from None
    except PermissionError:
        raise AudioError(f"{path}: may not be read: change its permissions") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from None
    if not magic:
        raise AudioError(f"{path}: is empty (0 bytes) where audio is expected: fetch or export it again")
    return magic
