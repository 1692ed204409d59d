"""The song's tags, under one set of names whatever the container calls them.

Names follow FFmpeg: title, artist, album, album_artist, composer, date, track, disc, genre, comment, copyright.
Everything else in a file's metadata (encoder, brands, handler names) describes the file, not the song, and is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import soundfile

# FFmpeg's name of each, and libsndfile's where it has one.
NAMES = {
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
IN_SOUNDFILE = {name: theirs for name, theirs in NAMES.items() if theirs}


def from_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The song's tags among FFmpeg's metadata; keys in any case."""
    lowered = {key.lower(): value.strip() for key, value in metadata.items()}
    return {name: lowered[name] for name in NAMES if lowered.get(name)}


def from_soundfile(file: soundfile.SoundFile) -> dict[str, str]:
    """The song's tags of an open libsndfile file."""
    values = {name: getattr(file, theirs).strip() for name, theirs in IN_SOUNDFILE.items()}
    return {name: value for name, value in values.items() if value}


def to_soundfile(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Set the tags that libsndfile can hold; to be called before the first sample is written."""
    for name, theirs in IN_SOUNDFILE.items():
        if tags.get(name):
            setattr(file, theirs, tags[name])
