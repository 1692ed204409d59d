"""Routes of what jobs give: stems in any format, in whole or in part, and all of them as a zip."""

from __future__ import annotations

import io
import mimetypes
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse, StreamingResponse

from tfswa_unet import audio
from tfswa_unet.errors import AudioError, unknown
from tfswa_unet.service.jobs import OwnJob, Service, Serving
from tfswa_unet.service.table import Job

BLOCK = 1 << 18  # samples that are converted at once
CHUNK = 1 << 20  # bytes of a zip that are sent at once
CONVERTING = threading.Semaphore(2)  # at the same time, beside the model
KINDS = {".opus": "audio/ogg", ".ogg": "audio/ogg", ".flac": "audio/flac", ".m4a": "audio/mp4", ".wav": "audio/wav"}
ROUTES = APIRouter(prefix="/v1")


@ROUTES.get("/jobs/{id}/stems/{name}", response_class=FileResponse)
def get_stem(name: str, job: OwnJob, service: Serving, format: str | None = None) -> FileResponse:
    """A stem, in the job's format or in another, whole or the range that is asked for."""
    path = _stem(service, job, name)
    if format is not None and format != job.options["format"]:
        path = _converted(path, format)
    named = f"{PurePath(job.name).stem} ({name}){path.suffix}"
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    try:
        return FileResponse(path, media_type=kind, filename=named, stat_result=path.stat())
    except OSError:
        raise HTTPException(404, "the stem was deleted") from None


@ROUTES.get("/jobs/{id}/zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def get_zip(job: OwnJob, service: Serving) -> StreamingResponse:
    """All stems of a job as one zip, not compressed once more."""
    paths = [_stem(service, job, name) for name in job.facts.get("files", {})]
    if not paths:
        raise HTTPException(409, f"the job is {job.state}: its stems are there when it is done")
    named = quote(f"{PurePath(job.name).stem}.zip", safe="")
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{named}"}
    return StreamingResponse(_zipped(paths), media_type="application/zip", headers=headers)


def _stem(service: Service, job: Job, name: str) -> Path:
    """Where a stem lies; names are looked up, never joined to a path."""
    files = job.facts.get("files", {})
    if job.state != "done":
        raise HTTPException(409, f"the job is {job.state}: its stems are there when it is done")
    if name not in files:
        raise HTTPException(404, f"there is no such stem: the job gave {', '.join(files)}")
    path = service.settings.jobs / job.id / files[name]
    if not path.is_file():
        raise HTTPException(404, "the stem was deleted")
    return path


def _converted(path: Path, format: str) -> Path:
    """A stem in another format, beside it; made when it is first asked for."""
    if format not in audio.FORMATS:
        raise HTTPException(422, str(unknown("format", format[:50], audio.FORMATS)))
    target = path.with_name(f"{path.stem}.{format}{audio.FORMATS[format].extension}")
    with CONVERTING:
        if target.is_file():
            return target
        try:
            info = audio.probe(path)
            with audio.Writer(target, info.rate, info.channels, format, info.tags) as writer:
                for block in audio.blocks(path, BLOCK):
                    writer.write(block)
        except AudioError as error:
            raise HTTPException(
                422, str(error).replace(str(path.parent), "").replace(str(target), "the stem")
            ) from None
    return target


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


def _zipped(paths: list[Path]) -> Iterator[bytes]:
    out = _Taken()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            with path.open("rb") as file, archive.open(zipfile.ZipInfo.from_file(path, path.name), "w") as entry:
                while chunk := file.read(CHUNK):
                    entry.write(chunk)
                    yield out.take()
            yield out.take()
    yield out.take()
