"""Decode wav, flac, Vorbis and their like with libsndfile, in blocks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfswa_unet.audio.decode import TOLERANCE, truncated
from tfswa_unet.audio.headers import FilePart, data_sizes, known_size, tags_from_soundfile
from tfswa_unet.errors import AudioError

if TYPE_CHECKING:
    import soundfile

# In what else libsndfile opens it does not seek to the exact sample; FFmpeg decodes that.
SUBTYPES = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS"}
# Vorbis seeks miss by some samples in the last page, which is 255 packets of 1024 samples at most, and in a file
# that was already read from: one seek to before that page, then only reading on.
LAST_PAGE = 1 << 18
SIZED = {"WAV", "WAVEX", "RF64", "W64", "CAF", "AU"}  # formats whose headers `data_sizes` reads
CHUNK = 1 << 16  # samples read at once
MOST_FRAMES = 1 << 48  # from here on, libsndfile does not know the length


class PcmDecoder:
    """A `read.Decoder` of a file in which libsndfile seeks to the exact sample."""

    def __init__(self, path: Path, file: soundfile.SoundFile, part: tuple[int, int] | None = None) -> None:
        self.rate: int = file.samplerate
        self.channels: int = file.channels
        self.streams = 1
        self.codec: str = "flac" if file.format == "FLAC" else file.subtype.lower()
        self.tags = tags_from_soundfile(file)
        self._path, self._part = path, part
        self._file = file

    @classmethod
    def open(cls, path: Path, stream: int, part: tuple[int, int] | None = None) -> PcmDecoder | None:
        """Open a file, or a range of its bytes, or give None where it is left to FFmpeg.

        Raises:
            AudioError: no samples, no such stream, or fewer bytes than the header announces.
        """
        import soundfile

        try:
            file = _open(path, part)
        except (soundfile.LibsndfileError, RuntimeError, TypeError):  # TypeError: a name that ends in .raw
            return None
        announced, present = data_sizes(path) if file.format in SIZED else (0, 0)
        # A recorder that was cut off leaves a header that announces nothing.
        hidden = file.frames == 0 and announced == 0 and present > 0
        # libsndfile leaves out the end of a caf whose size is a little too large.
        too_large = file.format == "CAF" and announced > present
        if file.subtype not in SUBTYPES or file.frames >= MOST_FRAMES or hidden or too_large:
            file.close()
            return None
        try:
            if stream > 0:
                raise AudioError(f"{path}: has 1 audio stream, so stream {stream} does not exist: choose stream 0")
            if file.frames == 0:
                raise AudioError(f"{path}: holds 0 samples where audio is expected: export it again")
            _check_complete(path, file, announced, present)
        except AudioError:
            file.close()
            raise
        return cls(path, file, part)

    def length(self) -> int:
        if self.codec == "flac":
            # A flac header announces a length of its own; only the last sample proves that the file is complete.
            self._seek(self._file.frames - 1)
            self._read(1)
        return self._file.frames

    def chunks(self, start: int, size: int) -> Iterator[np.ndarray]:
        if start >= self._file.frames:
            return
        entry = min(start, max(0, self._file.frames - LAST_PAGE)) if self.codec == "vorbis" else start
        self._seek(entry)
        self._read(start - entry)
        for position in range(start, self._file.frames, size):
            yield self._read(min(size, self._file.frames - position))

    def close(self) -> None:
        self._file.close()

    def _seek(self, position: int) -> None:
        import soundfile

        try:
            self._file.seek(position)
        except soundfile.LibsndfileError:
            raise self._truncated() from None

    def _read(self, length: int) -> np.ndarray:
        import soundfile

        # Through one small buffer: a second array of the whole length would cost more in fresh pages than the decoding.
        audio = np.empty((self.channels, length), np.float32)
        buffer = np.empty((min(length, CHUNK), self.channels), np.float32)
        for start in range(0, length, CHUNK):
            wanted = min(CHUNK, length - start)
            try:
                got = len(self._file.read(out=buffer[:wanted]))
            except soundfile.LibsndfileError:
                got = 0
            if got < wanted:
                raise self._truncated()
            audio[:, start : start + wanted] = buffer[:wanted].T
        return audio

    def _truncated(self) -> AudioError:
        import soundfile

        decoded = 0
        with suppress(soundfile.LibsndfileError), _open(self._path, self._part) as file:
            for block in file.blocks(1024, dtype="float32"):
                decoded += len(block)
        return truncated(self._path, decoded, self._file.frames, self.rate)


def _open(path: Path, part: tuple[int, int] | None) -> soundfile.SoundFile:
    import soundfile

    if part is not None:
        return soundfile.SoundFile(FilePart(path, *part))
    # soundfile encodes text strictly; names that are not UTF-8 are passed as they are.
    return soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))


def _check_complete(path: Path, file: soundfile.SoundFile, announced: int, present: int) -> None:
    # libsndfile quietly shortens a file whose header announces more than it holds; of an aiff its log tells.
    found = re.search(r"^ ?SSND : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if found:
        announced, present = known_size(int(found[1])), int(found[2])
    frames = file.frames * announced // max(present, 1)
    # A little too much is a pad byte or a chunk behind the samples that was counted in, but not half of a short file.
    tolerated = min(TOLERANCE * file.samplerate, 0.1 * frames)
    if present < announced and frames - file.frames > tolerated:
        raise truncated(path, file.frames, frames, file.samplerate)
