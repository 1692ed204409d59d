"""FFmpeg decoding of audio files in blocks, their cover art, and the errors for damaged audio."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from tfswa_unet.audio.headers import MOST_PICTURE_BYTES, PICTURES, Cover, FilePart, mp3_length, tags_from_metadata
from tfswa_unet.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer


# Playlists and their like are left out: a file that a stranger gives must not open other files or addresses.
DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,rm,"
    "shn,tak,tta,voc,w64,wav,wv,xwma"
)
# Demuxers (and in ogg, the codec) whose time stamps are exact samples; only mov also seeks to them.
STAMPED = {("mov", ""), ("mp3", ""), ("aac", ""), ("ogg", "opus")}
# Samples decoded and thrown away before a crop, until the decoder's memory is what a decode from the start leaves:
# a frame of a low-rate mp3 borrows bits from up to nine frames before it, opus predicts its band energies.
PREROLL = {"mp3": 12 * 1152, "opus": 48_000}
PREROLL_ELSEWHERE = 4096
TAIL_PACKETS = 16
MP3_SPILL = 2 * 1152  # padding of the last frame that FFmpeg leaves in where something follows it, in samples
TOLERANCE = 0.1  # s that a file may lack before it counts as damaged


def check_finite(audio: np.ndarray, path: Path, start: int, rate: int) -> None:
    """Refuse NaN and infinity in audio (c, t) that begins at sample `start` of `path`; rate in Hz.

    Raises:
        AudioError: how many samples are not finite, and where the first one lies in s.
    """
    # The extremes carry any NaN or infinity and need no mask of the whole array.
    if audio.size == 0 or (np.isfinite(audio.min()) and np.isfinite(audio.max())):
        return
    bad = ~np.isfinite(audio)
    first = start + int(np.argmax(bad.any(axis=0)))
    count = int(bad.sum())
    raise AudioError(
        f"{path}: {count} {'sample is' if count == 1 else 'samples are'} NaN or infinite, the first at "
        f"{first / rate:.3f} s (sample {first}), where finite numbers are expected: repair or export it again"
    )


def truncated(path: Path, decoded: int, announced: int, rate: int) -> AudioError:
    """The error for a file that ends, or breaks, before the length it announces; lengths in samples, rate in Hz."""
    return AudioError(
        f"{path}: decoded {decoded / rate:.2f} s of {announced / rate:.2f} s announced: "
        "the file is cut short or damaged, fetch or export it again"
    )


class ContainerDecoder:
    """A `read.Decoder` of one audio stream of any file that FFmpeg demuxes.

    Encoder delay and padding are left out as FFmpeg leaves them out; in mp4 the last frame also ends where the
    container says. A short damage between good packets becomes silence of its length, a longer one an AudioError.
    """

    def __init__(self, path: Path, stream: int, part: tuple[int, int] | None = None) -> None:
        self._path = path
        self._source = _source(path, part)
        self._container = _open(path, self._source)
        try:
            self._stream = pick_stream(path, self._container, stream)
            self._packets = self._demux()
            self._lost = 0  # ticks that could not be decoded
            self._started = False
            frames = self._decode(self._packets)
            first = next(frames, None)
            if first is None:
                raise AudioError(f"{path}: none of its audio can be decoded: it is damaged, fetch or export it again")
        except BaseException:
            self.close()
            raise
        self._started = True
        self._first, self._frames = first, chain([first], frames)
        self._origin = first.pts or 0
        self._demuxer = self._container.format.name.split(",")[0]
        self.rate: int = first.sample_rate
        self.channels: int = first.layout.nb_channels
        self.streams = len(self._container.streams.audio)
        self.codec: str = self._stream.codec_context.codec.canonical_name
        self.tags = tags_from_metadata({**self._stream.metadata, **self._container.metadata})
        self._stamped = (self._demuxer, self.codec if self._demuxer == "ogg" else "") in STAMPED
        self._counted = (mp3_length(path) or 0) if self._demuxer == "mp3" and part is None else 0
        self._tick = float((self._stream.time_base or 1) * self.rate)  # in samples

    def length(self) -> int:
        if self._demuxer == "mov" and self._stream.duration:
            last_second = round(self._stream.duration * self._tick) - self.rate
            # Nothing in the last second: the file is cut short, and how short is worth a whole decode.
            end = self._end(self._frames_from(last_second)) or self._end(self._frames_again())
        elif self._stamped:
            end = self._end(chain([self._first], self._decode(deque(self._packets, maxlen=TAIL_PACKETS))))
        else:
            end = self._end(self._frames)
        self._check_complete(end)
        padded = self._counted and self._counted < end <= self._counted + MP3_SPILL
        return self._counted if padded else end

    def chunks(self, start: int, size: int) -> Iterator[np.ndarray]:
        position: int | None = None
        held: list[np.ndarray] = []  # what may be padding behind the counted length
        for frame, samples in self._sized(self._frames_from(start)):
            if position is None:
                position = self._position(frame)
            end = position + samples
            if end > start:
                array = self._array(frame)[:, :samples]
                if self._counted and self._counted < end <= self._counted + MP3_SPILL:
                    padding = array[:, max(0, self._counted - position, start - position) :]
                    held.append(padding)
                    array = array[:, : max(0, self._counted - position)]
                elif held:
                    yield from held
                    held = []
                yield array[:, max(0, start - position) :]
            position = end
        if position is not None:
            self._check_complete(position)

    def close(self) -> None:
        self._container.close()
        if not isinstance(self._source, str):
            self._source.close()

    def _position(self, frame: AudioFrame) -> int:
        if not self._stamped:
            return 0  # such files are decoded from their start
        return round(((frame.pts or 0) - self._origin) * self._tick)

    def _demux(self) -> Iterator[Packet]:
        from av.error import FFmpegError

        try:
            yield from self._container.demux(self._stream)
        except FFmpegError:
            return  # the file ends here; whether that is too early is judged by what was decoded

    def _decode(self, packets: Iterable[Packet]) -> Iterator[AudioFrame]:
        from av.error import FFmpegError

        damaged: list[Packet] = []
        for packet in packets:
            try:
                frames = cast("list[AudioFrame]", packet.decode())
            except FFmpegError:
                damaged.append(packet)
                continue
            if frames and damaged:
                # What cannot be decoded before the first good frame is no part of the audio.
                if self._started:
                    yield self._silence(damaged)
                damaged = []
            yield from frames

    def _silence(self, damaged: list[Packet]) -> AudioFrame:
        from av import AudioFrame

        ticks = sum(packet.duration or 0 for packet in damaged)
        self._lost += ticks
        if self._lost * self._tick > TOLERANCE * self.rate:
            at = (damaged[0].pts or 0) * self._tick / self.rate
            raise AudioError(
                f"{self._path}: {self._lost * self._tick / self.rate:.2f} s cannot be decoded, the last of it at "
                f"{at:.2f} s: the file is damaged, fetch or export it again"
            )
        zeros = np.zeros((self.channels, round(ticks * self._tick)), np.float32)
        frame = AudioFrame.from_ndarray(zeros, format="fltp", layout=self._first.layout.name)
        frame.sample_rate, frame.pts = self.rate, damaged[0].pts
        return frame

    def _frames_from(self, start: int) -> Iterator[AudioFrame]:
        entry = start - PREROLL.get(self.codec, PREROLL_ELSEWHERE)
        if not self._stamped or entry <= self._first.samples:
            return self._frames
        ticks = self._origin + int(entry / self._tick)
        if self._demuxer == "mov":
            return self._frames_again(ticks)
        # These demuxers seek to a guess only: packets are passed over undecoded instead.
        return self._decode(packet for packet in self._packets if packet.pts is None or packet.pts >= ticks)

    def _frames_again(self, ticks: int = 0) -> Iterator[AudioFrame]:
        self._container.seek(ticks, stream=self._stream)
        return self._decode(self._demux())

    def _end(self, frames: Iterable[AudioFrame]) -> int:
        end = 0
        for frame, samples in self._sized(frames):
            end = (self._position(frame) if self._stamped else end) + samples
        return end

    def _sized(self, frames: Iterable[AudioFrame]) -> Iterator[tuple[AudioFrame, int]]:
        held: AudioFrame | None = None
        for frame in frames:
            if held is not None:
                yield held, held.samples
            held = frame
        if held is not None:
            trimmed = round(held.duration * self._tick) if self._demuxer == "mov" and held.duration else held.samples
            yield held, min(held.samples, trimmed)

    def _array(self, frame: AudioFrame) -> np.ndarray:
        if frame.layout.nb_channels != self.channels or frame.sample_rate != self.rate:
            raise AudioError(
                f"{self._path}: changes from {self.channels} channels at {self.rate} Hz to "
                f"{frame.layout.nb_channels} channels at {frame.sample_rate} Hz on the way: split it, or convert it"
            )
        return to_array(frame)

    def _check_complete(self, end: int) -> None:
        announced = self._announced()
        if end < announced - TOLERANCE * self.rate:
            raise truncated(self._path, end, announced, self.rate)

    def _announced(self) -> int:
        # Elsewhere a duration is an estimate from the bit rate, or that of another stream.
        if self._demuxer == "mp3":
            return self._counted
        if self._stream.duration and self._demuxer == "mov":
            return round(self._stream.duration * self._tick)
        if self._demuxer == "caf":
            return self._stream.frames if self.codec.startswith("pcm") else 0
        if self._demuxer == "matroska" and len(self._container.streams) == 1 and self._container.duration:
            return round(self._container.duration * self.rate / 1_000_000)
        return 0


def read_cover(path: Path) -> Cover | None:
    """The first JPEG or PNG picture attached to an audio file; None where there is none that can be read and copied."""
    import av
    from av.stream import Disposition

    try:
        with _open(path, _source(path, None)) as container:
            for stream in container.streams.video:
                context = stream.codec_context
                if stream.disposition & Disposition.attached_pic and context and context.name in PICTURES:
                    data = bytes(next(container.demux(stream)))
                    if 0 < len(data) <= MOST_PICTURE_BYTES:
                        return Cover(context.name, context.width, context.height, data)
    except (AudioError, av.error.FFmpegError, StopIteration):
        pass
    return None


def _source(path: Path, part: tuple[int, int] | None) -> str | IO[bytes] | FilePart:
    if part is not None:
        return FilePart(path, *part)
    # The absolute path keeps a name such as "a:b.mp3" from being taken for a protocol.
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # FFmpeg's names are UTF-8
        return open(name, "rb")
    return name


def _open(path: Path, source: str | IO[bytes] | FilePart) -> InputContainer:
    import av

    try:
        return av.open(source, "r", options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"})
    except (av.error.FFmpegError, ValueError, UnicodeError):
        raise AudioError(
            f"{path}: is not an audio file, or is too damaged to tell: wav, flac, mp3, ogg, opus, m4a or another "
            "format that FFmpeg reads is expected"
        ) from None


def pick_stream(path: Path, container: InputContainer, stream: int) -> AudioStream:
    """The audio stream of that number, counted among the audio streams; the others are passed over."""
    from av.stream import Discard

    audio = container.streams.audio
    if not audio:
        kinds = ", ".join(sorted({each.type for each in container.streams})) or "nothing"
        raise AudioError(f"{path}: holds {kinds} but no audio: give a file with an audio stream")
    if stream >= len(audio):
        streams = "1 audio stream" if len(audio) == 1 else f"{len(audio)} audio streams"
        raise AudioError(
            f"{path}: has {streams}, so stream {stream} does not exist: choose a number up to {len(audio) - 1}"
        )
    chosen = audio[stream]
    if chosen.codec_context is None:
        raise AudioError(f"{path}: its audio codec is unknown to FFmpeg: convert it to flac or wav first")
    for each in container.streams:
        if each is not chosen:
            each.discard = Discard.all
    return chosen


def to_array(frame: AudioFrame) -> np.ndarray:
    """A frame of any sample format as float32 (c, t), full scale ±1, levels above it kept."""
    array: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind == "u":
        return (array.astype(np.float32) - 128) / 128
    return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
