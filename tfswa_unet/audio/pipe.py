"""Audio through pipes, of any length: raw samples or a container in, wav out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tfswa_unet.audio.decode import DEMUXERS, check_finite, pick_stream, to_array
from tfswa_unet.audio.headers import known_size, tags_from_metadata
from tfswa_unet.audio.read import AudioInfo
from tfswa_unet.audio.write import FORMATS
from tfswa_unet.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

STDIN = Path("stdin")  # its name in messages, and of its stems
# Sample formats of raw audio, as FFmpeg calls them.
RAW_FORMATS = MappingProxyType(
    {"u8": "u1", "s16le": "<i2", "s16be": ">i2", "s32le": "<i4", "s32be": ">i4", "f32le": "<f4", "f32be": ">f4"}
)
READ_BYTES = 1 << 16  # at most at once; what a pipe holds is taken without waiting for more
HEADER_BYTES = 1 << 16  # of a wav in which its samples must begin
ENDLESS = 0xFFFFFFFF  # size of a wav whose end is not known yet
PIPED = ("wav16", "wav24", "wav32f")  # formats that can be written without going back


@dataclass(frozen=True)
class RawFormat:
    """Samples without a header: rate in Hz, channels interleaved, `samples` a key of `RAW_FORMATS`."""

    rate: int
    channels: int
    samples: str

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read "44100,2,s16le"; raises ConfigError for anything else."""
        rate, channels, samples, *more = [*(part.strip() for part in text.split(",")), "", ""]
        if any(more) or not (
            rate.isdecimal() and channels.isdecimal() and int(rate) and int(channels) and samples in RAW_FORMATS
        ):
            raise ConfigError(
                f"raw audio {text!r}: expected RATE,CHANNELS,FORMAT such as 44100,2,s16le, "
                f"the format one of {', '.join(RAW_FORMATS)}"
            )
        return cls(int(rate), int(channels), samples)

    @property
    def kind(self) -> np.dtype[Any]:
        """The type of one sample."""
        return np.dtype(RAW_FORMATS[self.samples])

    @property
    def frame_bytes(self) -> int:
        """Bytes of a sample of all channels."""
        return self.kind.itemsize * self.channels

    def decoded(self, data: bytes) -> np.ndarray:
        """Whole frames as a block (c, t) float32, full scale ±1."""
        samples, kind = np.frombuffer(data, self.kind).reshape(-1, self.channels).T, self.kind
        if kind.kind == "f":
            return samples.astype(np.float32)
        half = 2.0 ** (8 * kind.itemsize - 1)
        return ((samples - (half if kind.kind == "u" else 0.0)) / half).astype(np.float32)

    def encoded(self, block: np.ndarray) -> bytes:
        """A block (c, t) as interleaved samples; integers are rounded and cut at full scale."""
        frames, kind = np.ascontiguousarray(block.T), self.kind
        if kind.kind != "f":
            half = 2.0 ** (8 * kind.itemsize - 1)
            numbers = np.rint(frames.astype(np.float64) * half).clip(-half, half - 1)
            frames = numbers + (half if kind.kind == "u" else 0.0)
        return frames.astype(kind).tobytes()


class PipeReader:
    """Audio that is read from a pipe once, front to back; `info.length` is 0, since nobody knows it.

    Args:
        file: a binary file that need not seek.
        raw: what its bytes are, where they have no header; None for a container that FFmpeg demuxes.
        stream: which audio stream of the container.

    Raises:
        AudioError: for what is no audio, or nothing.
    """

    def __init__(self, file: BinaryIO, raw: RawFormat | None = None, stream: int = 0) -> None:
        self._file = _Forward(file)
        if raw is not None:
            self._arrays = self._raw(raw)
            self.info = AudioInfo(STDIN, raw.rate, raw.channels, 0, 1, raw.samples, {})
            return
        container = self._open()
        chosen = pick_stream(STDIN, container, stream)
        frames = container.decode(chosen)
        first = _next(frames)
        if first is None:
            raise AudioError(f"{STDIN}: holds no audio that can be decoded: check what writes into the pipe")
        tags = tags_from_metadata({**chosen.metadata, **container.metadata})
        rate, channels = first.sample_rate, first.layout.nb_channels
        streams, codec = len(container.streams.audio), chosen.codec_context.codec.canonical_name
        self.info = AudioInfo(STDIN, rate, channels, 0, streams, codec, tags)
        self._arrays = self._decoded(first, frames)

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks (c, t) float32, full scale ±1, as they come; raises AudioError for NaN, infinity and damage."""
        position = 0
        for block in self._arrays:
            check_finite(block, STDIN, position, self.info.rate)
            position += block.shape[1]
            yield block
        if position == 0:
            raise AudioError(f"{STDIN}: holds 0 samples where audio is expected: check what writes into the pipe")

    def _raw(self, raw: RawFormat) -> Iterator[np.ndarray]:
        rest = b""
        while data := self._file.read(READ_BYTES):
            data = rest + data
            whole = len(data) // raw.frame_bytes * raw.frame_bytes
            rest = data[whole:]
            yield raw.decoded(data[:whole])

    def _open(self) -> InputContainer:
        import av

        endless = {"ignore_length": "1"} if self._file.is_endless_wav() else {}
        try:
            return av.open(self._file, "r", options={"format_whitelist": DEMUXERS, **endless})
        except (av.error.FFmpegError, ValueError):
            raise AudioError(
                f"{STDIN}: no audio that can be read from a pipe: give wav, flac, mp3, ogg or another format that "
                "begins with its header, or say what raw samples are, as --raw 44100,2,s16le does"
            ) from None

    def _decoded(self, first: AudioFrame, frames: Iterator[AudioFrame]) -> Iterator[np.ndarray]:
        frame: AudioFrame | None = first
        while frame is not None:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.info.rate, self.info.channels):
                raise AudioError(f"{STDIN}: its rate or channels change on the way: split it, or convert it")
            yield to_array(frame)
            frame = _next(frames)


class _Forward:
    """A file that is only read forwards, whose first bytes can be looked at before."""

    name = str(STDIN)  # for FFmpeg, which guesses nothing from it

    def __init__(self, file: BinaryIO) -> None:
        self._read = getattr(file, "read1", file.read)
        self._seen = b""

    def read(self, size: int = READ_BYTES) -> bytes:
        if self._seen:
            seen, self._seen = self._seen[:size], self._seen[size:]
            return seen
        return bytes(self._read(size))

    def is_endless_wav(self) -> bool:
        """Whether the header of a wav does not know how long it is (RIFF; what cannot go back writes such sizes)."""
        at, wanted = 12, 4
        while self._have(wanted) and self._seen[:4] == b"RIFF":
            if not self._have(at + 8) or at > HEADER_BYTES:
                return False
            name, size = struct.unpack_from("<4sI", self._seen, at)
            if name == b"data":
                return known_size(size) == 0
            at += 8 + size + size % 2
        return False

    def _have(self, count: int) -> bool:
        while len(self._seen) < count and (more := bytes(self._read(READ_BYTES))):
            self._seen += more
        return len(self._seen) >= count


class PipeWriter:
    """A wav written into a pipe, whose header says that nobody knows its length; rate in Hz.

    `format` is wav16, wav24 or wav32f; integers are rounded to the nearest and cut at full scale.

    Raises:
        ConfigError: for another format.
        BrokenPipeError: where nobody reads any more.
    """

    def __init__(self, file: BinaryIO, rate: int, channels: int, format: str = "wav32f") -> None:
        if format not in PIPED:
            raise ConfigError(f"{format} cannot be written into a pipe: choose one of {', '.join(PIPED)}")
        self._file, self._bits = file, FORMATS[format].bits
        bits = self._bits or 32
        frame = channels * bits // 8
        code = 1 if self._bits else 3  # WAVE_FORMAT_PCM, WAVE_FORMAT_IEEE_FLOAT
        file.write(struct.pack("<4sI4s4sI", b"RIFF", ENDLESS, b"WAVE", b"fmt ", 16))
        file.write(struct.pack("<HHIIHH4sI", code, channels, rate, rate * frame, frame, bits, b"data", ENDLESS))
        file.flush()

    def write(self, block: np.ndarray) -> None:
        """Append a block (c, t)."""
        frames = np.ascontiguousarray(block.T, "<f4")
        if self._bits is not None:
            full = float(1 << (self._bits - 1))
            numbers = np.rint(frames * np.float32(full)).clip(-full, full - 1).astype("<i4")
            frames = numbers.view(np.uint8).reshape(*numbers.shape, 4)[..., : self._bits // 8]
        self._file.write(frames.tobytes())
        self._file.flush()


class RawWriter:
    """Samples without a header written into a pipe, each block at once; integers are rounded and cut at full scale.

    Raises:
        BrokenPipeError: where nobody reads any more.
    """

    def __init__(self, file: BinaryIO, raw: RawFormat) -> None:
        self._file, self._raw = file, raw

    def write(self, block: np.ndarray) -> None:
        """Append a block (c, t)."""
        self._file.write(self._raw.encoded(block))
        self._file.flush()


def _next(frames: Iterator[AudioFrame]) -> AudioFrame | None:
    from av.error import FFmpegError

    try:
        return next(frames, None)
    except FFmpegError as error:
        raise AudioError(f"{STDIN}: cannot be decoded any further ({error}): check what writes into the pipe") from None
