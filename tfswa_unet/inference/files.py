"""Audio files to stem files, as a stream: read, separate, write."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfswa_unet import audio
from tfswa_unet.errors import UserError
from tfswa_unet.inference.request import InputFile, Job, Request
from tfswa_unet.inference.separator import BLOCK_SECONDS, Cancel, OnProgress, Separator
from tfswa_unet.inference.stem_files import Delay, NullError, StemPipe, open_stem_files
from tfswa_unet.inference.stream import Cancelled


@dataclass(frozen=True)
class FileResult:
    """Outcome of the separation of one file.

    `null_db` is the level of mixture − Σ stems below the mixture in dB, before any gain, where the stems written are
    meant to sum to it; `gain` is what clip="shared" multiplied all stems with. `files` are addresses where the stems
    were put into a store.
    """

    song: Path
    status: Literal["done", "skipped", "failed"]
    files: Mapping[str, Path | str] = field(default_factory=dict)
    seconds: float = 0.0  # of audio
    elapsed: float = 0.0  # s that the separation took
    null_db: float | None = None
    gain: float = 1.0
    error: str | None = None

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of work for each second of audio."""
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
    path: str | bytes | Path,
    out: str | bytes | Path,
    *,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
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
    path = Path(os.fsdecode(path))
    request = Request([InputFile(path, path.stem)], Path(os.fsdecode(out)), **settings)
    (job,) = request.jobs(separator.stems)
    return _run_job(separator, request, job, on_progress, cancel)


def separate_files(
    separator: Separator,
    inputs: Iterable[str | bytes | Path],
    out: str | bytes | Path,
    *,
    on_start: Callable[[InputFile], None] | None = None,
    on_progress: OnProgress | None = None,
    on_result: Callable[[FileResult], None] | None = None,
    cancel: Cancel | None = None,
    **settings: Any,
) -> list[FileResult]:
    """Separate files, and all audio files below folders, into folder `out`.

    `settings` are fields of `Request`; everything else is as for `run_request`. Raises UserError for settings or inputs
    that cannot work at all.
    """
    request = Request.find(inputs, out, **settings)
    return run_request(
        separator, request, on_start=on_start, on_progress=on_progress, on_result=on_result, cancel=cancel
    )


def run_request(
    separator: Separator,
    request: Request,
    *,
    on_start: Callable[[InputFile], None] | None = None,
    on_progress: OnProgress | None = None,
    on_result: Callable[[FileResult], None] | None = None,
    cancel: Cancel | None = None,
) -> list[FileResult]:
    """Separate a request's files one after the other; a file that fails stops the others only where that is asked for.

    Args:
        separator: the model at work.
        request: the files, and how their stems are written.
        on_start: called with each file before it.
        on_progress: called with the samples done and the samples in all of the current file.
        on_result: called with each file's result.
        cancel: polled before every batch of segments.

    Returns:
        a result for each file, status "failed" with the reason for those that failed; with on_error="stop" for those up
        to the first that failed.

    Raises:
        ConfigError: for stems that the model does not give, or files that would overwrite each other.
        Cancelled: when `cancel` returned true; finished files stay.
        BrokenPipeError: where nobody reads standard output any more.
    """
    results = []
    for job in request.jobs(separator.stems):
        if on_start:
            on_start(job.file)
        results.append(result := run_job(separator, request, job, on_progress, cancel))
        if on_result:
            on_result(result)
        if result.status == "failed" and request.on_error == "stop":
            break
    return results


def run_job(
    separator: Separator,
    request: Request,
    job: Job,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> FileResult:
    """Separate one file of a request; whatever is wrong with it is its result, as the others are still to be done.

    Raises:
        Cancelled: when `cancel` returned true.
        BrokenPipeError: where nobody reads standard output any more.
    """
    try:
        return _run_job(separator, request, job, on_progress, cancel)
    except (Cancelled, BrokenPipeError):
        raise
    except Exception as error:  # what is no UserError is a defect
        return FileResult(job.file.path, "failed", error=_sentence(job.file.path, error))


def _sentence(song: Path, error: Exception) -> str:
    said = str(error) or type(error).__name__
    if not isinstance(error, (UserError, OSError)):
        said = f"unexpected {type(error).__name__}: {said}"
    return said if str(song) in said else f"{song}: {said}"


def _run_job(
    separator: Separator, request: Request, job: Job, on_progress: OnProgress | None, cancel: Cancel | None
) -> FileResult:
    path, paths, targets = job.file.path, job.paths, job.targets
    request.check_lengths(job)
    if request.skip_existing and request.holds(job):
        return FileResult(path, "skipped", request.places(job))
    if request.store:
        return _run_stored(separator, request, job, on_progress, cancel)
    began = time.perf_counter()
    mixture, null, done = Delay(), NullError(), 0
    info, blocks = _opened(job.file, request)
    request.check_job(job, info)
    separator.check_channels(info.channels, path)
    stream = separator.separate_blocks(
        mixture.remember(blocks),
        info.rate,
        info.channels,
        stems=targets.stems,
        cancel=cancel,
        # A pipe may be live: what it gives is separated as soon as it fills a segment, and waited for here, where
        # an interrupt breaks the waiting off.
        batch=1 if job.file.piped else None,
        threaded=not job.file.piped,
    )
    tags = info.tags if request.tags else None
    covered = request.tags and audio.FORMATS[request.format].covers and not job.file.piped
    cover = audio.read_cover(path) if covered else None
    with (
        closing(stream),
        StemPipe.open(paths, info.rate, info.channels, request.format, request.clipping)
        if request.stdout
        else open_stem_files(
            paths, info.rate, info.channels, request.format, request.clipping, tags, cover, request.prefix
        ) as files,
    ):
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
        path,
        "done",
        paths,
        seconds=done / info.rate,
        elapsed=time.perf_counter() - began,
        null_db=null.decibels if targets.sums else None,
        gain=files.gain,
    )


def _run_stored(
    separator: Separator, request: Request, job: Job, on_progress: OnProgress | None, cancel: Cancel | None
) -> FileResult:
    """Separate into a folder that does not stay, and put the stems from there into the request's store."""
    assert request.store
    with tempfile.TemporaryDirectory(prefix="tfswa-") as folder:
        settings = replace(request, inputs=[job.file], out=Path(folder), store=None, skip_existing=False)
        (local,) = settings.jobs(separator.stems)
        result = _run_job(separator, settings, local, on_progress, cancel)
        request.store.put({path.relative_to(folder).as_posix(): path for path in local.paths.values()})
    return replace(result, files=request.places(job))


def _opened(file: InputFile, request: Request) -> tuple[audio.AudioInfo, Iterator[np.ndarray]]:
    """What an input is, and its blocks (c, t)."""
    if file.piped:
        reader = audio.PipeReader(sys.stdin.buffer, request.raw, request.stream)
        return reader.info, reader.blocks()
    info = audio.probe(file.path, request.stream)
    return info, audio.blocks(file.path, max(1, int(BLOCK_SECONDS * info.rate)), request.stream)
