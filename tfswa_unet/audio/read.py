"""Probe and read audio files: whole, a crop, or as a stream of blocks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tfswa_unet.audio.decode import ContainerDecoder, check_finite
from tfswa_unet.audio.headers import ogg_links, skip_id3
from tfswa_unet.audio.pcm import PcmDecoder
from tfswa_unet.errors import AudioError

# Left to FFmpeg at once, behind ID3 tags: matroska, and below mp4 and the frames of mp3 and aac; libsndfile would take
# its time to find that it does not know them, or does not seek them exactly.
FFMPEG_MAGIC = b"\x1aE\xdf\xa3"


@dataclass(frozen=True)
class AudioInfo:
    """One audio stream of a file: rate in Hz, length in samples per channel, exactly what `read` returns.

    `streams` counts the file's audio streams; `codec` is FFmpeg's or libsndfile's name, in lower case; `tags` are
    the song's, under FFmpeg's names (title, artist, album, date, track, genre, …).
    """

    path: Path
    rate: int
    channels: int
    length: int
    streams: int
    codec: str
    tags: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """The duration in s."""
        return self.length / self.rate


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


def probe(path: str | Path, stream: int = 0) -> AudioInfo:
    """Rate, channels, length, codec and tags of audio stream `stream` of a file.

    wav and flac take about a millisecond, mp4 and m4a a few; of mp3, aac, ogg and opus all packets are counted; the
    rarer formats, whose containers do not tell exactly, are decoded once.

    Raises:
        AudioError: no such file or stream, no audio in it, or less audio than it announces.
    """
    with closing(open_decoder(path, stream)) as file:
        return AudioInfo(Path(path), file.rate, file.channels, file.length(), file.streams, file.codec, file.tags)


def read(
    path: str | Path, start: int = 0, length: int | None = None, stream: int = 0, *, allow_nonfinite: bool = False
) -> np.ndarray:
    """Read samples `start` to `start + length` (or to the end) of an audio stream, exactly, as float32 (c, t).

    Levels above full scale are kept where the format holds them. A crop equals the same part of the whole file to
    the sample; only AAC that was encoded with noise substitution draws its noise anew in every decode.

    Raises:
        AudioError: what `probe` refuses; a crop that does not lie in the file; NaN or infinity in it, unless
            `allow_nonfinite`.
    """
    path = Path(path)
    if start < 0 or (length is not None and length < 0):
        raise AudioError(f"{path}: a crop from sample {start} of length {length} is asked for: neither can be negative")
    with closing(open_decoder(path, stream)) as decoder:
        rate = decoder.rate
        audio = _collect(decoder, start, length)
    if audio.shape[1] < (1 if length is None else length):
        _refuse_crop(path, start, length, stream)
    if not allow_nonfinite:
        check_finite(audio, path, start, rate)
    return audio


def blocks(path: str | Path, size: int, stream: int = 0, *, allow_nonfinite: bool = False) -> Iterator[np.ndarray]:
    """Read a whole audio stream in blocks (c, `size`), the last one shorter; float32, memory independent of duration.

    The file is opened, and refused if it cannot be, before the first block is asked for. That it is complete shows
    at the end only, so a caller with long work to do calls `probe` first.

    Raises:
        AudioError: what `probe` refuses; NaN or infinity, unless `allow_nonfinite`.
    """
    if size < 1:
        raise ValueError(f"size is {size}: a block holds at least 1 sample")
    return _blocks(open_decoder(path, stream), Path(path), size, allow_nonfinite)


def open_decoder(path: str | Path, stream: int = 0) -> Decoder:
    """Open audio stream `stream` of a file.

    Raises:
        AudioError: no such file, a folder, an empty or unreadable file, no audio in it, no such stream.
    """
    path = Path(path)
    magic = _first_bytes(path)
    if stream < 0:
        raise AudioError(f"{path}: stream is {stream}: audio streams are counted from 0")
    if magic[:4] == b"OggS" and len(links := ogg_links(path)) > 1:
        return ChainDecoder(path, stream, links)
    return _open_part(path, stream, None, magic)


class ChainDecoder:
    """A `Decoder` of chained Ogg, each link of which is decoded as a file of its own."""

    def __init__(self, path: Path, stream: int, links: list[tuple[int, int]]) -> None:
        self._path, self._stream, self._links = path, stream, links
        with closing(self._open(links[0])) as first:
            self.rate, self.channels, self.streams = first.rate, first.channels, first.streams
            self.codec, self.tags = first.codec, first.tags

    def length(self) -> int:
        return sum(map(self._length, self._links))

    def chunks(self, start: int, size: int) -> Iterator[np.ndarray]:
        for link in self._links:
            if start > 0 and start >= (length := self._length(link)):
                start -= length
                continue
            with closing(self._open(link)) as decoder:
                if (decoder.rate, decoder.channels) != (self.rate, self.channels):
                    raise self._changed(decoder)
                yield from decoder.chunks(start, size)
            start = 0

    def close(self) -> None:
        """Every link is closed when it is done."""

    def _open(self, link: tuple[int, int]) -> Decoder:
        return _open_part(self._path, self._stream, link, b"OggS")

    def _length(self, link: tuple[int, int]) -> int:
        with closing(self._open(link)) as decoder:
            if (decoder.rate, decoder.channels) != (self.rate, self.channels):
                raise self._changed(decoder)
            return decoder.length()

    def _changed(self, decoder: Decoder) -> AudioError:
        return AudioError(
            f"{self._path}: changes from {self.channels} channels at {self.rate} Hz to {decoder.channels} channels at "
            f"{decoder.rate} Hz on the way: split it, or convert it"
        )


def _open_part(path: Path, stream: int, part: tuple[int, int] | None, magic: bytes) -> Decoder:
    ours = magic[:4] == FFMPEG_MAGIC or magic[4:8] == b"ftyp" or (magic[:1] == b"\xff" and magic[1:2] >= b"\xe0")
    return (None if ours else PcmDecoder.open(path, stream, part)) or ContainerDecoder(path, stream, part)


def _first_bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
            skip_id3(file)
            magic = file.read(8)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file: check the path (working folder: {os.getcwd()})") from None
    except IsADirectoryError:
        raise AudioError(f"{path}: is a folder where an audio file is expected: name one file in it") from None
    except PermissionError:
        raise AudioError(f"{path}: may not be read: change its permissions") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from None
    if empty:
        raise AudioError(f"{path}: is empty (0 bytes) where audio is expected: fetch or export it again")
    return magic


def _collect(decoder: Decoder, start: int, length: int | None) -> np.ndarray:
    pieces, got = [np.empty((decoder.channels, 0), np.float32)], 0
    if length != 0:
        for chunk in decoder.chunks(start, length or sys.maxsize):
            pieces.append(chunk if length is None else chunk[:, : length - got])
            got += pieces[-1].shape[1]
            if got == length:
                break
    return pieces[1] if len(pieces) == 2 else np.concatenate(pieces, axis=1)


def _refuse_crop(path: Path, start: int, length: int | None, stream: int) -> None:
    info = probe(path, stream)
    wanted = f"sample {start} ({start / info.rate:.2f} s)"
    if start >= info.length:
        problem = f"start is {wanted}"
    else:
        end = start + (length or 0)
        problem = f"a crop from {wanted} to {end} ({end / info.rate:.2f} s) is asked for"
    raise AudioError(
        f"{path}: {problem}, but the file ends at sample {info.length} ({info.seconds:.2f} s): "
        "choose an earlier start or a shorter length"
    )


def _blocks(decoder: Decoder, path: Path, size: int, allow_nonfinite: bool) -> Iterator[np.ndarray]:
    with closing(decoder):
        position = 0
        for block in _regrouped(decoder.chunks(0, size), size):
            if not allow_nonfinite:
                check_finite(block, path, position, decoder.rate)
            position += block.shape[1]
            yield block


def _regrouped(chunks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    pending: list[np.ndarray] = []
    held = 0
    for chunk in chunks:
        while held + chunk.shape[1] >= size:
            cut = size - held
            yield np.concatenate([*pending, chunk[:, :cut]], axis=1) if pending else chunk[:, :cut]
            pending, held, chunk = [], 0, chunk[:, cut:]
        if chunk.shape[1]:
            pending.append(chunk)
            held += chunk.shape[1]
    if pending:
        yield np.concatenate(pending, axis=1)
