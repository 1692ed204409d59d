"""The formats that can be written, and what each can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tfswa_unet.errors import AudioError

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (7350, *_MP3_RATES, 64000, 88200, 96000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


@dataclass(frozen=True)
class Format:
    """A way to write audio: its name here, its file extension (".wav"), and its limits.

    `bits` is the width of integer samples, None where levels above full scale are kept; `rates` in Hz.
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


_ALL = (
    # RF64 becomes a plain wav when it is closed with less than 4 GiB in it.
    Format("wav16", ".wav", "libsndfile", "RF64", "PCM_16", range(1, 1 << 31), 1024, bits=16),
    Format("wav24", ".wav", "libsndfile", "RF64", "PCM_24", range(1, 1 << 31), 1024, bits=24),
    Format("wav32f", ".wav", "libsndfile", "RF64", "FLOAT", range(1, 1 << 31), 1024),
    Format("flac16", ".flac", "libsndfile", "FLAC", "PCM_16", range(1, 655_351), 8, bits=16),
    Format("flac24", ".flac", "libsndfile", "FLAC", "PCM_24", range(1, 655_351), 8, bits=24),
    Format("mp3", ".mp3", "ffmpeg", "mp3", "libmp3lame", _MP3_RATES, 2, lossless=False),
    Format("ogg", ".ogg", "libsndfile", "OGG", "VORBIS", range(8000, 192_001), 8, lossless=False),
    Format("opus", ".opus", "ffmpeg", "ogg", "libopus", _OPUS_RATES, 2, lossless=False),
    Format("m4a", ".m4a", "ffmpeg", "mp4", "aac", _AAC_RATES, 2, lossless=False),
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
            known = ", ".join(str(each) for each in found.rates)
        raise AudioError(
            f"{format} cannot hold {rate} Hz, only {known} Hz: resample to one of these or choose wav32f or flac24"
        )
    if not 1 <= channels <= found.most_channels:
        raise AudioError(
            f"{format} holds 1 to {found.most_channels} channels, not {channels}: choose wav32f or write fewer channels"
        )
    return found
