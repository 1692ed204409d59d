"""Song files to stem files, as a stream: read, separate, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfswa_unet import audio
from tfswa_unet.errors import UserError
from tfswa_unet.inference.request import Request, Song, find_songs
from tfswa_unet.inference.separator import BLOCK_SECONDS, Poll, Progress, Separator
from tfswa_unet.inference.stem_files import open_stem_files
from tfswa_unet.inference.targets import Delay, NullError, Targets


@dataclass(frozen=True)
class FileResult:
    """What became of one song.

    `null_db` is the level of mixture − Σ stems below the mixture in dB, before any gain, where the stems written are
    meant to sum to it; `gain` is what clip="shared" multiplied all stems with.
    """

    song: Path
    status: Literal["done", "skipped", "failed"]
    files: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0.0  # of audio
    elapsed: float = 0.0  # s that the separation took
    null_db: float | None = None
    gain: float = 1.0
    error: str | None = None

    @property
    def rtf(self) -> float:
        """Seconds of work for each second of audio."""
        return self.elapsed / self.seconds if self.seconds else 0.0

    def plain(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "song": str(self.song),
            "status": self.status,
            "files": {stem: str(path) for stem, path in self.files.items()},
            "seconds": round(self.seconds, 3),
            "elapsed": round(self.elapsed, 3),
            "rtf": round(self.rtf, 5),
            "null_db": None if self.null_db is None else round(self.null_db, 2),
            "gain": round(self.gain, 6),
            "error": self.error,
        }


def separate_file(
    separator: Separator,
    path: str | Path,
    out: str | Path,
    *,
    on_progress: Progress | None = None,
    cancel: Poll | None = None,
    **settings: Any,
) -> FileResult:
    """Separate one file into stem files that appear together when all are complete.

    Args:
        separator: the model at work.
        path: an audio file.
        out: folder for the stems.
        on_progress: called with the samples done and the samples in all.
        cancel: polled before every batch of segments.
        settings: fields of `Request`, such as format="flac24" or residual="spread".

    Raises:
        UserError: for whatever cannot work, before the separation begins where it can be known; nothing is left behind.
        Cancelled: when `cancel` returned true.
    """
    request = Request(Path(out), **settings)
    song = Song(Path(path), Path(path).stem)
    targets = request.targets(separator.stems)
    (paths,) = request.paths([song], targets.names)
    return _separate(separator, song, request, targets, paths, on_progress, cancel)


def separate_files(
    separator: Separator,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    on_start: Callable[[Song], None] | None = None,
    on_progress: Progress | None = None,
    on_result: Callable[[FileResult], None] | None = None,
    cancel: Poll | None = None,
    **settings: Any,
) -> list[FileResult]:
    """Separate files and all audio files below folders; a song that fails does not stop the others.

    Args:
        separator: the model at work.
        inputs: files and folders.
        out: folder for the stems.
        on_start: called with each song before it.
        on_progress: called with the samples done and the samples in all of the current song.
        on_result: called with each song's result.
        cancel: polled before every batch of segments.
        settings: fields of `Request`.

    Returns:
        a result for each song, status "failed" with the reason for those that failed.

    Raises:
        UserError: for settings or inputs that cannot work at all.
        Cancelled: when `cancel` returned true; finished songs stay.
    """
    request = Request(Path(out), **settings)
    songs = find_songs(inputs, out)
    targets = request.targets(separator.stems)
    results = []
    for song, paths in zip(songs, request.paths(songs, targets.names), strict=True):
        if on_start:
            on_start(song)
        try:
            result = _separate(separator, song, request, targets, paths, on_progress, cancel)
        except (UserError, OSError) as error:
            result = FileResult(song.path, "failed", error=str(error))
        results.append(result)
        if on_result:
            on_result(result)
    return results


def _separate(
    separator: Separator,
    song: Song,
    request: Request,
    targets: Targets,
    paths: dict[str, Path],
    on_progress: Progress | None,
    cancel: Poll | None,
) -> FileResult:
    if request.skip_existing and all(path.is_file() for path in paths.values()):
        return FileResult(song.path, "skipped", paths)
    began = time.perf_counter()
    info = audio.probe(song.path, request.stream)
    request.check_song(info, paths)
    separator.check_channels(info.channels)

    size = max(1, int(BLOCK_SECONDS * info.rate))
    mixture, null, done = Delay(), NullError(), 0
    blocks = mixture.remember(audio.blocks(song.path, size, request.stream))
    stream = separator.stream(blocks, info.rate, info.channels, stems=targets.stems, cancel=cancel)
    tags = info.tags if request.tags else None
    with open_stem_files(paths, info.rate, info.channels, request.format, request.clipping, tags) as files:
        for separated in stream:
            length = next(iter(separated.values())).shape[1]
            original = mixture.pop(length)
            stems = targets.mix(original, separated)
            null.add(original, stems)
            files.write(stems)
            done += length
            if on_progress:
                on_progress(done, info.length)
    return FileResult(
        song.path,
        "done",
        paths,
        seconds=done / info.rate,
        elapsed=time.perf_counter() - began,
        null_db=null.decibels if targets.sums(separator.stems) else None,
        gain=files.gain,
    )
