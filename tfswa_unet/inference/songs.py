"""Which files a user means by naming files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.errors import AudioError

EXTENSIONS = frozenset(
    [".wav", ".flac", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".mka"]
)


@dataclass(frozen=True)
class Song:
    """An audio file, and the name by which its stems are filed."""

    path: Path
    track: str


def find_songs(inputs: Iterable[str | Path], out: str | Path | None = None) -> list[Song]:
    """Songs of the given files, and of all folders below the given folders, in a stable order.

    A file's track is its name without ending; in a folder it is the path from that folder, so that equal names in two
    albums stay apart. Hidden files and what lies in the output folder `out` are passed over.

    Raises:
        AudioError: for an input that does not exist, or a folder without audio files.
    """
    songs: dict[Path, Song] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            found = [Song(path, str(path.relative_to(given).with_suffix(""))) for path in _audio_below(given, out)]
            if not found:
                raise AudioError(f"{given} holds no audio files: expected endings such as .wav, .flac, .mp3 or .m4a")
        elif given.exists():
            found = [Song(given, given.stem)]
        else:
            raise AudioError(f"{given}: no such file or folder")
        for song in found:
            songs.setdefault(song.path.resolve(), song)
    return list(songs.values())


def _audio_below(folder: Path, out: str | Path | None) -> list[Path]:
    skipped = Path(out).resolve() if out is not None and Path(out).resolve() != folder.resolve() else None
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (skipped is None or skipped not in path.resolve().parents)
    )
