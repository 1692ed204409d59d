"""Sinks for samples: libsndfile for wav, flac and Vorbis, the FFmpeg inside PyAV for mp3, opus and m4a."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from tfswa_unet.audio import tags as names
from tfswa_unet.audio.formats import Format

if TYPE_CHECKING:
    from av import AudioStream

# libsndfile hands Vorbis a whole call's samples on the stack.
_VORBIS_SAMPLES = 1 << 14
_VORBIS_COMPRESSION = 0.2  # quality 8 of 10, some 256 kb/s in stereo
_RF64_AUTO_DOWNGRADE = 0x1210  # SFC_RF64_AUTO_DOWNGRADE in sndfile.h


class Sink(Protocol):
    """An open file that takes float32 audio (c, t) piece by piece; `clipped` counts samples cut to full scale."""

    clipped: int

    def write(self, block: np.ndarray) -> None:
        """Append a block (c, t)."""

    def close(self) -> None:
        """Write what is pending and close the file."""


def open_sink(path: Path, format: Format, rate: int, channels: int, tags: Mapping[str, str]) -> Sink:
    """Create a file of `format` at `path` (whatever its extension); rate in Hz."""
    kind = SoundfileSink if format.library == "libsndfile" else FfmpegSink
    return kind(path, format, rate, channels, tags)


class SoundfileSink:
    """Samples are rounded to the nearest integer, which libsndfile's own conversion from float does not do."""

    def __init__(self, path: Path, format: Format, rate: int, channels: int, tags: Mapping[str, str]) -> None:
        import soundfile

        self.clipped = 0
        self._bits = format.bits
        self._step = _VORBIS_SAMPLES if format.codec == "VORBIS" else None
        quality = {"compression_level": _VORBIS_COMPRESSION} if format.codec == "VORBIS" else {}
        self._file = soundfile.SoundFile(
            path, "w", rate, channels, subtype=format.codec, format=format.container, **quality
        )
        if format.container == "RF64":
            soundfile._snd.sf_command(self._file._file, _RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1)
        names.to_soundfile(self._file, tags)

    def write(self, block: np.ndarray) -> None:
        frames = np.ascontiguousarray(block.T)
        if self._bits is not None:
            frames = self._integers(frames, self._bits)
        step = self._step or max(1, len(frames))
        for start in range(0, len(frames), step):
            self._file.write(frames[start : start + step])

    def close(self) -> None:
        self._file.close()

    def _integers(self, frames: np.ndarray, bits: int) -> np.ndarray:
        self.clipped += int(np.count_nonzero(np.abs(frames) > 1))
        full = float(1 << (bits - 1))
        scaled = np.rint(frames * np.float32(full)).clip(-full, full - 1)
        if bits == 16:
            return scaled.astype(np.int16)
        return scaled.astype(np.int32) << (32 - bits)


class FfmpegSink:
    """The encoder's delay and padding are written beside the audio, so that players leave them out."""

    clipped = 0  # these codecs take levels above full scale

    def __init__(self, path: Path, format: Format, rate: int, channels: int, tags: Mapping[str, str]) -> None:
        import av

        # mp4 rounds its edit list to the movie's own ticks, which are milliseconds unless told otherwise.
        muxing = {"movie_timescale": str(rate)} if format.container == "mp4" else {}
        self._container = av.open(str(path.absolute()), "w", format=format.container, options=muxing)
        self._layout = "mono" if channels == 1 else "stereo"
        # At these rates nothing is gained by random noise in place of noisy bands, and crops would differ by it.
        options = {"aac_pns": "0"} if format.codec == "aac" else {}
        self._stream = cast("AudioStream", self._container.add_stream(format.codec, rate, options, layout=self._layout))
        self._stream.bit_rate = _bit_rate(format.name, rate, channels)
        self._container.metadata.update({name: tags[name] for name in names.NAMES if tags.get(name)})
        self._rate = rate
        self._written = 0

    def write(self, block: np.ndarray) -> None:
        from av import AudioFrame

        if block.shape[1] == 0:
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts = self._rate, self._written
        self._container.mux(self._stream.encode(frame))
        self._written += block.shape[1]

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def _bit_rate(name: str, rate: int, channels: int) -> int:
    if name == "mp3":
        # The most that each of the three MPEG versions allows (ISO/IEC 11172-3, 13818-3, and 2.5).
        return 320_000 if rate >= 32_000 else 160_000 if rate >= 16_000 else 64_000
    return (96_000 if name == "opus" else 128_000) * channels
