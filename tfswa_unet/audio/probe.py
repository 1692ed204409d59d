"""What a file holds, without reading its samples."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.audio.decoder import open_decoder


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


def probe(path: str | Path, stream: int = 0) -> AudioInfo:
    """Say what audio stream `stream` of a file holds.

    wav and flac take about a millisecond, mp4 and m4a a few; of mp3, aac, ogg and opus all packets are counted; the
    rarer formats, whose containers do not tell exactly, are decoded once.

    Raises:
        AudioError: no such file or stream, no audio in it, or less audio than it announces.
    """
    with closing(open_decoder(path, stream)) as decoder:
        return AudioInfo(
            Path(path),
            decoder.rate,
            decoder.channels,
            decoder.length(),
            decoder.streams,
            decoder.codec,
            decoder.tags,
        )
