"""PCM files of a cache: a stem in 16 bits behind one page of header, of which any crop is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import get_type_hints

import numpy as np

from tfswa_unet.errors import DataError

SUFFIX = ".tfpcm"
FORMAT = "tfswa-pcm-1"  # changed whenever the same key would give other bytes
PAGE = 4096  # bytes of the header, so that the samples begin on a page
SAMPLE = np.dtype("<i2")
LEVELS = 2**15  # of a 16-bit sample, on each side of zero
CHUNK = 1 << 18  # samples at a time
BLOCK = 1 << 16  # samples converted at a time: what was just read is still in the processor's cache
OPEN_FILES = 64


@dataclass(frozen=True)
class PcmHeader:
    """Header of a PCM file: integers (c, t), channel after channel, each worth `scale` of full scale; rate in Hz.

    The samples are within half of `scale` of what was written, and float32's rounding. `scale` is 2^-15 for audio that
    was 16-bit already, which is so kept exactly, and a 32767th of the peak for all other, whatever that peak is.
    """

    rate: int
    channels: int
    length: int
    scale: float
    checksum: str
    format: str = FORMAT


def size_in_bytes(channels: int, length: int) -> int:
    """Size in bytes of a complete file of `length` samples per channel."""
    return PAGE + SAMPLE.itemsize * channels * length


def step(peak: float, is_16_bit: bool) -> float:
    """Scale for audio of this peak; exact in float32."""
    if is_16_bit:
        return 1 / LEVELS
    return float(max(np.float32(peak / (LEVELS - 1)), np.finfo(np.float32).tiny))


def write_pcm(path: Path, chunks: Iterable[np.ndarray], rate: int, channels: int, length: int, scale: float) -> None:
    """Write chunks of samples (n,), one channel after the other, as a file; raises OSError as the file system does."""
    checksum = blake2b(digest_size=16)
    with open(path, "wb") as file:
        file.seek(PAGE)
        for chunk in chunks:
            data = np.rint(chunk / np.float32(scale)).astype(SAMPLE).tobytes()
            checksum.update(data)
            file.write(data)
        header = asdict(PcmHeader(rate, channels, length, scale, checksum.hexdigest()))
        file.seek(0)
        file.write(json.dumps(header).encode().ljust(PAGE - 1) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_pcm(path: Path, start: int, length: int) -> np.ndarray:
    """Read samples `start` to `start + length` of a file as float32 (c, t).

    A few files stay open between calls, and nothing else does. Raises DataError for a file that is gone or damaged.
    """
    audio = np.empty((_opened(path).header.channels, length), np.float32)
    read_into(path, start, audio)
    return audio


def read_into(path: Path, start: int, audio: np.ndarray, add: bool = False) -> None:
    """Read samples of a file from `start` on into `audio`, float32 (c, t), or add them; mono goes to every channel.

    The file has 1 or c channels, see `read_header`. Raises as `read_pcm` does.
    """
    file, length = _opened(path), audio.shape[1]
    header, scale = file.header, np.float32(file.header.scale)
    if start + length > header.length:
        raise _damaged(path, f"{header.length} samples, asked for {length} from sample {start} on")
    block = np.empty(min(BLOCK, length), SAMPLE)
    for channel in range(header.channels):
        rows = audio if header.channels == 1 else audio[channel : channel + 1]
        for first in range(0, length, BLOCK):
            samples = block[: length - first]
            # Read, not mapped: a map of a file that another program cuts short kills the process, and its pages count
            # as ours.
            place = PAGE + SAMPLE.itemsize * (channel * header.length + start + first)
            got = os.preadv(file.descriptor, [samples], place)  # type: ignore[list-item]
            if got != samples.nbytes:
                raise _damaged(path, f"{got} bytes of {samples.nbytes} from sample {start + first} on")
            part = rows[:, first : first + len(samples)]
            if add:
                part += samples * scale
            else:
                np.multiply(samples, scale, out=part)


def read_header(path: Path) -> PcmHeader:
    """Read the header of a file; raises DataError for a file that is gone or damaged."""
    return _opened(path).header


def is_whole(path: Path) -> bool:
    """Whether size and checksum of a file, which is read whole, are right."""
    try:
        header = _Opened(path).header
        if path.stat().st_size != size_in_bytes(header.channels, header.length):
            return False
        checksum = blake2b(digest_size=16)
        with open(path, "rb") as file:
            file.seek(PAGE)
            while chunk := file.read(CHUNK):
                checksum.update(chunk)
    except (DataError, OSError):
        return False
    return checksum.hexdigest() == header.checksum


def close_files() -> None:
    """Forget the files that were kept open, because they may have been replaced."""
    _opened.cache_clear()


class _Opened:
    """An open file; it is closed when the last reader lets go of it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
            values = json.loads(os.pread(self.descriptor, PAGE, 0))
        except OSError as error:
            raise _damaged(path, error.strerror or "unreadable") from None
        except ValueError:
            raise _damaged(path, "no header") from None
        if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != get_type_hints(
            PcmHeader
        ):
            raise _damaged(path, "another header")
        self.header = PcmHeader(**values)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


# Positional reads share no file position, so that processes forked from this one may use its descriptors.
@lru_cache(OPEN_FILES)
def _opened(path: Path) -> _Opened:
    return _Opened(path)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"The cached stem {path} is damaged or gone ({what}): run `tfswa data cache --verify` on the data set, or "
        "delete the cache's folder."
    )
