"""Write audio files in any of the output formats, with tags and cover art."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from tfswa_unet.audio.decode import check_finite
from tfswa_unet.audio.headers import TAGS, Cover, cover_to_flac, tags_to_soundfile
from tfswa_unet.errors import AudioError

if TYPE_CHECKING:
    from av import AudioStream

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (7350, *MP3_RATES, 64000, 88200, 96000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
VORBIS_SAMPLES = 1 << 14  # at once: libsndfile hands Vorbis a whole call's samples on the stack
VORBIS_COMPRESSION = 0.2  # quality 8 of 10, some 256 kb/s in stereo
RF64_AUTO_DOWNGRADE = 0x1210  # SFC_RF64_AUTO_DOWNGRADE in sndfile.h


@dataclass(frozen=True)
class Format:
    """An output format: its name here, its file extension (".wav"), and its limits.

    `bits` is the width of integer samples, None where levels above full scale are kept; `rates` in Hz; `covers` says
    whether cover art is written.
    """

    name: str
    extension: str
    library: Literal["libsndfile", "ffmpeg"]
    container: str
    codec: str
    rates: range | tuple[int, ...]
    most_channels: int
    lossless: bool = True
    bits: int | None = None
    covers: bool = False


_ALL = (
    # RF64 becomes a plain wav when it is closed with less than 4 GiB in it.
    Format("wav16", ".wav", "libsndfile", "RF64", "PCM_16", range(1, 1 << 31), 1024, bits=16),
    Format("wav24", ".wav", "libsndfile", "RF64", "PCM_24", range(1, 1 << 31), 1024, bits=24),
    Format("wav32f", ".wav", "libsndfile", "RF64", "FLOAT", range(1, 1 << 31), 1024),
    Format("flac16", ".flac", "libsndfile", "FLAC", "PCM_16", range(1, 655_351), 8, bits=16, covers=True),
    Format("flac24", ".flac", "libsndfile", "FLAC", "PCM_24", range(1, 655_351), 8, bits=24, covers=True),
    Format("mp3", ".mp3", "ffmpeg", "mp3", "libmp3lame", MP3_RATES, 2, lossless=False, covers=True),
    Format("ogg", ".ogg", "libsndfile", "OGG", "VORBIS", range(8000, 192_001), 8, lossless=False),
    Format("opus", ".opus", "ffmpeg", "ogg", "libopus", OPUS_RATES, 2, lossless=False),
    Format("m4a", ".m4a", "ffmpeg", "mp4", "aac", AAC_RATES, 2, lossless=False, covers=True),
)
FORMATS: Mapping[str, Format] = MappingProxyType({each.name: each for each in _ALL})


def check_format(format: str, rate: int, channels: int) -> Format:
    """Look a format up by its name, and check that it holds audio of `rate` Hz and so many channels.

    Raises:
        AudioError: an unknown name, or a rate or channel count that the format cannot hold.
    """
    found = FORMATS.get(format)
    if found is None:
        raise AudioError(f"output format {format!r} is unknown: choose one of {', '.join(FORMATS)}")
    if rate not in found.rates:
        if isinstance(found.rates, range):
            known = f"{found.rates.start} to {found.rates.stop - 1}"
        else:
            known = ", ".join(map(str, found.rates))
        raise AudioError(
            f"{format} cannot hold {rate} Hz, only {known} Hz: resample to one of these or choose wav32f or flac24"
        )
    if not 1 <= channels <= found.most_channels:
        raise AudioError(
            f"{format} holds 1 to {found.most_channels} channels, not {channels}: choose wav32f or write fewer channels"
        )
    return found


class Writer:
    """Write an audio file in blocks (c, t), as a context manager; rate in Hz.

    The file grows under a temporary name in its folder and takes its own when the block of `with` ends well; after
    an exception nothing is left. wav and flac read back as exactly the samples written (rounded to 16 or 24 bits,
    without dither); mp3, ogg, opus and m4a read back in the length written, their delay and padding declared (an mp3 of
    less than 47 samples gives 47).
    `clipped` counts the samples beyond ±1 that an integer format cut; float and lossy formats keep such levels. A cover
    goes into formats that have `covers`, and is left out of others.

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
        cover: Cover | None = None,
    ) -> None:
        self.path = Path(path)
        self.rate = rate
        self.channels = channels
        self.format = check_format(format, rate, channels)
        self.written = 0
        self._tags = dict(tags or {})
        self._cover = cover if self.format.covers else None
        self._partial = self.path.with_name(f".{secrets.token_hex(8)}.part")
        self._sink: _SoundfileSink | _FfmpegSink | None = None
        _check_writable(self.path)

    @property
    def clipped(self) -> int:
        """Number of samples cut to full scale so far."""
        return 0 if self._sink is None else self._sink.clipped

    def __enter__(self) -> Writer:
        sink = _SoundfileSink if self.format.library == "libsndfile" else _FfmpegSink
        try:
            self._sink = sink(self._partial, self.format, self.rate, self.channels, self._tags, self._cover)
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
    path: str | Path, audio: np.ndarray, rate: int, format: str = "wav32f", tags: Mapping[str, str] | None = None
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


class _SoundfileSink:
    """A file written by libsndfile; integers are rounded to the nearest, which its own conversion does not do."""

    def __init__(
        self, path: Path, format: Format, rate: int, channels: int, tags: Mapping[str, str], cover: Cover | None
    ) -> None:
        import soundfile

        self._path, self._cover = path, cover

        self.clipped = 0
        self._bits = format.bits
        vorbis = format.codec == "VORBIS"
        self._step = VORBIS_SAMPLES if vorbis else None
        quality = {"compression_level": VORBIS_COMPRESSION} if vorbis else {}
        self._file = soundfile.SoundFile(
            path if os.name == "nt" else os.fsencode(path),
            "w",
            rate,
            channels,
            subtype=format.codec,
            format=format.container,
            **quality,
        )
        if format.container == "RF64":
            soundfile._snd.sf_command(self._file._file, RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
        tags_to_soundfile(self._file, tags)

    def write(self, block: np.ndarray) -> None:
        frames = np.ascontiguousarray(block.T)
        if self._bits is not None:
            frames = self._integers(frames, self._bits)
        step = self._step or max(1, len(frames))
        for start in range(0, len(frames), step):
            self._file.write(frames[start : start + step])

    def close(self) -> None:
        self._file.close()
        if self._cover:
            cover_to_flac(self._path, self._cover)

    def _integers(self, frames: np.ndarray, bits: int) -> np.ndarray:
        self.clipped += int(np.count_nonzero(np.abs(frames) > 1))
        full = float(1 << (bits - 1))
        scaled = np.rint(frames * np.float32(full)).clip(-full, full - 1)
        return scaled.astype(np.int16) if bits == 16 else scaled.astype(np.int32) << (32 - bits)


class _FfmpegSink:
    """A file written by FFmpeg, with the encoder's delay and padding declared, so that players leave them out."""

    clipped = 0  # these codecs take levels above full scale

    def __init__(
        self, path: Path, format: Format, rate: int, channels: int, tags: Mapping[str, str], cover: Cover | None
    ) -> None:
        import av

        # mp4 rounds its edit list to the movie's own ticks, which are milliseconds unless told otherwise.
        muxing = {"movie_timescale": str(rate)} if format.container == "mp4" else {}
        # A file of ours, since FFmpeg's names are UTF-8 only.
        self._file = open(path, "w+b")  # noqa: SIM115, closed by `close`
        self._container = av.open(self._file, "w", format=format.container, options=muxing)
        self._layout = "mono" if channels == 1 else "stereo"
        # At these rates nothing is gained by random noise in place of noisy bands, and crops would differ by it.
        options = {"aac_pns": "0"} if format.codec == "aac" else {}
        self._stream = cast("AudioStream", self._container.add_stream(format.codec, rate, options, layout=self._layout))
        self._stream.bit_rate = _bit_rate(format.name, rate, channels)
        self._container.metadata.update({name: tags[name] for name in TAGS if tags.get(name)})
        self._rate = rate
        self._written = 0
        if cover:
            self._attach(cover)

    def write(self, block: np.ndarray) -> None:
        from av import AudioFrame

        if block.shape[1] == 0:
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self._rate, self._written
        self._container.mux(self._stream.encode(frame))
        self._written += block.shape[1]

    def _attach(self, cover: Cover) -> None:
        from av import Packet
        from av.stream import Disposition

        picture = self._container.add_mux_stream(cover.codec, width=cover.width, height=cover.height)
        picture.disposition = Disposition.attached_pic
        packet = Packet(cover.data)
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = picture, 0, 0, True
        self._container.mux(packet)

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            try:
                self._container.close()
            finally:
                self._file.close()


def _bit_rate(name: str, rate: int, channels: int) -> int:
    if name == "mp3":
        # The most that each of the three MPEG versions allows (ISO/IEC 11172-3, 13818-3, and 2.5).
        return 320_000 if rate >= 32_000 else 160_000 if rate >= 16_000 else 64_000
    return (96_000 if name == "opus" else 128_000) * channels
