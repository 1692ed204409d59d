"""Routes of what jobs give: stems in any format, in whole or in part, and all of them as a zip."""

from __future__ import annotations

import hashlib
import io
import mimetypes
import re
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Response
from fastapi.responses import FileResponse, StreamingResponse

from tfswa_unet import audio
from tfswa_unet.errors import AudioError, unknown
from tfswa_unet.service.jobs import RETRY_SECONDS, OwnJob, Service, Serving
from tfswa_unet.service.results import Stem, Unanswered
from tfswa_unet.service.table import Job

BLOCK = 1 << 18  # samples that are converted at once
CHUNK = 1 << 20  # bytes of a zip that are sent at once
CONVERTING = threading.Semaphore(2)  # at the same time, beside the model
KINDS = {".opus": "audio/ogg", ".ogg": "audio/ogg", ".flac": "audio/flac", ".m4a": "audio/mp4", ".wav": "audio/wav"}
RANGE = re.compile(r"bytes=(?=\d|-\d)(\d{0,18})-(\d{0,18})", re.IGNORECASE | re.ASCII)
ROUTES = APIRouter(prefix="/v1")


@ROUTES.get("/jobs/{id}/stems/{name}", response_class=FileResponse)
def get_stem(
    name: str,
    job: OwnJob,
    service: Serving,
    format: str | None = None,
    range: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """A stem, in the job's format or in another, whole or the range that is asked for."""
    stem = _stem(service, job, name)
    if format is not None and format != job.options["format"]:
        stem = _converted(service, job, stem, format)
    suffix = PurePath(stem.name).suffix
    named = f"{PurePath(job.name).stem} ({name}){suffix}"
    kind = KINDS.get(suffix) or mimetypes.guess_type(stem.name)[0] or "application/octet-stream"
    if stem.path is None:
        return _streamed(job, stem, kind, named, range, if_range)
    try:
        return FileResponse(stem.path, media_type=kind, filename=named, stat_result=stem.path.stat())
    except OSError:
        raise _deleted() from None


@ROUTES.get("/jobs/{id}/zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def get_zip(job: OwnJob, service: Serving) -> StreamingResponse:
    """All stems of a job as one zip, not compressed once more."""
    stems = [_stem(service, job, name) for name in job.facts.get("files", {})]
    if not stems:
        raise HTTPException(409, f"the job is {job.state}: its stems are there when it is done")
    headers = {"Content-Disposition": _attachment(f"{PurePath(job.name).stem}.zip")}
    made = time.localtime(job.finished)[:6]
    return StreamingResponse(_zipped(stems, made), media_type="application/zip", headers=headers)


def _stem(service: Service, job: Job, name: str) -> Stem:
    """A stem's file; names are looked up, never joined to a path."""
    files = job.facts.get("files", {})
    if job.state != "done":
        raise HTTPException(409, f"the job is {job.state}: its stems are there when it is done")
    if name not in files:
        raise HTTPException(404, f"there is no such stem: the job gave {', '.join(files)}")
    with _answered():
        return service.results.find(job.id, files[name])


def _converted(service: Service, job: Job, stem: Stem, format: str) -> Stem:
    """A stem in another format, kept beside it; made when it is first asked for."""
    if format not in audio.FORMATS:
        raise HTTPException(422, str(unknown("format", format[:50], audio.FORMATS)))
    file = f"{PurePath(stem.file).with_suffix('')}.{format}{audio.FORMATS[format].extension}"
    with CONVERTING, _answered():
        with suppress(FileNotFoundError):
            return service.results.find(job.id, file)
        with service.results.adding(job.id, stem, file) as (source, target):
            _convert(source, target, format)
        return service.results.find(job.id, file)


def _convert(source: Path, target: Path, format: str) -> None:
    try:
        info = audio.probe(source)
        with audio.Writer(target, info.rate, info.channels, format, info.tags) as writer:
            for block in audio.blocks(source, BLOCK):
                writer.write(block)
    except AudioError as error:
        raise HTTPException(422, str(error).replace(str(source.parent), "").replace(str(target), "the stem")) from None


@contextmanager
def _answered() -> Iterator[None]:
    """Tell a client what is not there."""
    try:
        yield
    except FileNotFoundError:
        raise _deleted() from None
    except Unanswered as error:
        raise HTTPException(503, f"{error}: try again later", {"Retry-After": str(RETRY_SECONDS)}) from None


def _deleted() -> HTTPException:
    return HTTPException(404, "the stem was deleted")


def _attachment(named: str) -> str:
    return f"attachment; filename*=utf-8''{quote(named, safe='')}"


def _streamed(job: Job, stem: Stem, kind: str, named: str, range: str | None, if_range: str | None) -> Response:
    """What lies elsewhere, as a `FileResponse`; several ranges of it are answered with the whole (RFC 9110, 14.2)."""
    tag = f'"{job.id}-{hashlib.sha256(stem.file.encode()).hexdigest()[:16]}"'  # a job's files never change
    headers = {"Accept-Ranges": "bytes", "ETag": tag, "Content-Disposition": _attachment(named)}
    start, end, status = 0, stem.size, 200
    asked = RANGE.fullmatch(range.strip()) if range and if_range in (None, tag) else None
    if asked:
        first, last = asked.groups()
        start = int(first) if first else max(stem.size - int(last), 0)
        end = min(int(last) + 1, stem.size) if first and last else stem.size
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{stem.size}"})
        headers["Content-Range"], status = f"bytes {start}-{end - 1}/{stem.size}", 206
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(_part(stem, start, end), status, headers, media_type=kind)


def _part(stem: Stem, start: int, end: int) -> Iterator[bytes]:
    with stem.open() as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK, end - start))):
            start += len(chunk)
            yield chunk


class _Taken(io.RawIOBase):
    """What is written, until it is taken; it cannot be sought, so that zipfile writes it front to back."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.parts = b"".join(self.parts), []
        return taken


def _zipped(stems: Sequence[Stem], made: tuple[int, ...]) -> Iterator[bytes]:
    out = _Taken()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for stem in stems:
            info = zipfile.ZipInfo(stem.name, made)  # type: ignore[arg-type]
            info.file_size, info.external_attr = stem.size, 0o644 << 16
            with archive.open(info, "w") as entry:
                for chunk in _part(stem, 0, stem.size):
                    entry.write(chunk)
                    yield out.take()
            yield out.take()
    yield out.take()
