"""File endings, headers, tags and cover art: what can be opened, links of chained Ogg, frames of mp3, chunks of wav."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import soundfile

# Endings of the files that the decoders open, in lower case; folders are searched for them.
# fmt: off
SUFFIXES = frozenset([
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".mp3", ".mp2", ".m4a", ".m4b", ".mp4", ".mov",
    ".aac", ".ogg", ".oga", ".ogv", ".opus", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd",
    ".voc", ".wma", ".wmv", ".asf", ".webm", ".mka", ".mkv", ".wv", ".ape", ".tta", ".tak",
    ".mpc", ".ac3", ".eac3", ".dts", ".dsf", ".amr", ".avi", ".flv", ".mpg", ".mpeg", ".ts",
])
# fmt: on
OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"\x80theora", b"fishead\0", b"BBCD\0", b"OVP80")
# What may follow the samples of a wav, and of a caf.
KNOWN_CHUNKS = (
    *(b"LIST", b"id3 ", b"ID3 ", b"PEAK", b"fact", b"JUNK", b"bext", b"cue ", b"iXML", b"PAD ", b"smpl", b"inst"),
    *(b"strg", b"info", b"free", b"peak", b"kuki", b"mark", b"regn", b"umid", b"uuid", b"chan", b"pakt"),
    b"",
)
# Sizes from here on are what programs write into a wav header when they cannot go back to fill it in.
UNKNOWN_BYTES = 0x7FFF0000


@dataclass(frozen=True)
class Chunks:
    """Where a container's chunks begin, the name of that of the samples, the form and alignment of their headers."""

    first: int
    name: bytes
    form: str
    align: int


CHUNKS = {
    b"RIFF": Chunks(12, b"data", "<4sI", 2),
    b"RF64": Chunks(12, b"data", "<4sI", 2),
    b"RIFX": Chunks(12, b"data", ">4sI", 2),
    b"riff": Chunks(40, b"data", "<16sq", 8),
    b"caff": Chunks(8, b"data", ">4sq", 1),
}
# The song's tags, FFmpeg's name of each and libsndfile's where it has one. Everything else in a file's metadata
# (encoder, brands, handler names) describes the file, not the song, and is dropped.
TAGS = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "album_artist": None,
    "composer": None,
    "date": "date",
    "track": "tracknumber",
    "disc": None,
    "genre": "genre",
    "comment": "comment",
    "copyright": "copyright",
}
SOUNDFILE_TAGS = {name: theirs for name, theirs in TAGS.items() if theirs}
PICTURES = {"mjpeg": "image/jpeg", "png": "image/png"}  # that every format with cover art takes, by FFmpeg's name
FRONT_COVER, PICTURE_BLOCK, LAST_BLOCK = 3, 6, 0x80  # RFC 9639
MOST_PICTURE_BYTES = 15 << 20  # a block of FLAC ends at 16 MiB


@dataclass(frozen=True)
class Cover:
    """The picture attached to a song, as it is encoded; `codec` is FFmpeg's name of a key of `PICTURES`."""

    codec: str
    width: int  # pixels
    height: int
    data: bytes


class FilePart(io.RawIOBase):
    """The bytes `start` to `stop` of a file, read as a file of their own."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115, closed by `close`
        self._start, self._size = start, stop - start
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._start + self._at)
        got = self._file.readinto(view[:wanted])  # type: ignore[attr-defined]
        self._at += got
        return int(got)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def skip_id3(file: BinaryIO) -> int:
    """Move behind the ID3v2 tags that a file begins with (id3.org, ID3v2.4.0 section 3.1), and give the position."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127:
            file.seek(at)
            return at
        footer = 10 if head[5] & 0x10 else 0
        at += 10 + footer + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def ogg_links(path: Path) -> list[tuple[int, int]]:
    """Byte ranges of the links of a chained Ogg file (RFC 3533 section 4); where it is not chained, of all of it."""
    starts, begun, at = [0], False, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        end = len(pages)
        while at + 27 <= end:
            if pages[at : at + 4] != b"OggS":
                at = pages.find(b"OggS", at + 1)
                if at < 0:
                    break
                continue
            segments = pages[at + 26]
            body = at + 27 + segments
            first = bool(pages[at + 5] & 2) and pages[body : body + 8].startswith(OGG_CODECS)
            if first and begun:
                starts.append(at)
            begun = not first
            at = body + sum(pages[at + 27 : body])
    return list(zip(starts, [*starts[1:], end], strict=True))


def mp3_length(path: Path) -> int | None:
    """Samples that the first frame of an mp3 counts (Xing, Info or VBRI), without the encoder's delay and padding."""
    with open(path, "rb") as file:
        skip_id3(file)
        head = file.read(8192)
    at = next((i for i in range(len(head) - 3) if head[i] == 0xFF and head[i + 1] & 0xE6 == 0xE2), None)
    if at is None:
        return None
    frame = head[at : at + 512]
    mpeg1, mono = frame[1] & 0x18 == 0x18, frame[3] >> 6 == 3
    samples = 1152 if mpeg1 else 576
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return samples * int(struct.unpack(">I", frame[50:54])[0])
    mark = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    if frame[mark : mark + 4] not in (b"Xing", b"Info") or len(frame) < mark + 12 or not frame[mark + 7] & 1:
        return None
    count = int(struct.unpack(">I", frame[mark + 8 : mark + 12])[0])
    flags = frame[mark + 7]
    lame = mark + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    cut = frame[lame + 21 : lame + 24]
    trimmed = (cut[0] << 4 | cut[1] >> 4) + ((cut[1] & 15) << 8 | cut[2]) if len(cut) == 3 else 0
    return max(0, count * samples - trimmed)


def data_sizes(path: Path) -> tuple[int, int]:
    """Bytes of samples that a wav, w64, caf or au announces, 0 where it does not say, and those that are there.

    Both are 0 for other files.
    """
    with open(path, "rb") as file:
        at = skip_id3(file)
        size = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        if magic == b".snd":
            start, announced = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
            return known_size(announced), max(0, size - start)
        if magic not in CHUNKS:
            return 0, 0
        at += CHUNKS[magic].first
        name, form, align = CHUNKS[magic].name, CHUNKS[magic].form, CHUNKS[magic].align
        width, large = struct.calcsize(form), 0
        while at + width <= size:
            file.seek(at)
            found, length = struct.unpack(form, file.read(width))
            if magic == b"riff":
                length -= width  # counts itself
            if found == b"ds64":
                large = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            at += width
            if found[:4] == name:
                if magic == b"caff":  # a number of edits comes first
                    at, length = at + 4, length - 4
                    file.seek(at)
                announced = large or (known_size(length) if form.endswith("I") else length)
                # FFmpeg, which reads such files, takes a RIFX for a RIFF, and so reads noise.
                none = announced <= 0 and (magic == b"RIFX" or file.read(4) in KNOWN_CHUNKS)
                return max(0, announced), 0 if none else max(0, size - at)
            at += max(0, length) + -length % align
    return 0, 0


def known_size(length: int) -> int:
    """A size of 32 bits, or 0 where it says that nobody knows."""
    return 0 if length >= UNKNOWN_BYTES else length


def tags_from_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The song's tags among FFmpeg's metadata; keys in any case."""
    lowered = {key.lower(): value.strip() for key, value in metadata.items()}
    return {name: lowered[name] for name in TAGS if lowered.get(name)}


def tags_from_soundfile(file: soundfile.SoundFile) -> dict[str, str]:
    """The song's tags of an open libsndfile file."""
    values = {name: getattr(file, theirs).strip() for name, theirs in SOUNDFILE_TAGS.items()}
    return {name: value for name, value in values.items() if value}


def tags_to_soundfile(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Set the tags that libsndfile can hold; to be called before the first sample is written."""
    for name, theirs in SOUNDFILE_TAGS.items():
        if tags.get(name):
            setattr(file, theirs, tags[name])


def cover_to_flac(path: Path, cover: Cover) -> None:
    """Put a picture among the metadata of a FLAC file, behind its first block (RFC 9639 section 8.8)."""
    kind = PICTURES[cover.codec].encode()
    block = struct.pack(f">II{len(kind)}sI", FRONT_COVER, len(kind), kind, 0)  # without a description
    block += struct.pack(">IIIII", cover.width, cover.height, 24, 0, len(cover.data)) + cover.data
    changed = path.with_name(f"{path.name}.cover")
    try:
        with path.open("rb") as file, changed.open("wb") as target:
            magic, header = file.read(4), file.read(4)
            first = file.read(int.from_bytes(header[1:], "big"))
            last = header[0] & LAST_BLOCK
            target.write(magic + bytes([header[0] & ~LAST_BLOCK]) + header[1:] + first)
            target.write(bytes([PICTURE_BLOCK | last]) + len(block).to_bytes(3, "big") + block)
            shutil.copyfileobj(file, target, 1 << 20)
        os.replace(changed, path)
    finally:
        changed.unlink(missing_ok=True)
