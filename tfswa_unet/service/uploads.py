"""Uploads: forms that go to disk as they come, within limits of bytes and time."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.request import InputFile
from tfswa_unet.inference.request import Request as SeparationRequest
from tfswa_unet.inference.stem_files import Targets
from tfswa_unet.service.settings import Limits

FIELD_BYTES = 1 << 12  # of a field that is no file
MOST_FIELDS = 12
MOST_NAME = 200  # characters
DEFAULT_FORMAT = "flac24"
FALSE, TRUE = ("false", "0", "no", "off"), ("true", "1", "yes", "on")
CUT_OFF = 499  # as nginx says that the client closed the connection


@dataclass(frozen=True)
class Form:
    """What was uploaded: files on disk, under the names that the client gives them, and the options of the work."""

    files: Sequence[tuple[str, Path]]
    options: dict[str, Any]


async def read_form(request: Request, limits: Limits, incoming: Path, stems: Sequence[str], most_files: int) -> Form:
    """Read a form of files, named file or files, and options, to files in `incoming`.

    Raises:
        HTTPException: 400 for what is no such form or has too many files, 408 for one that comes too slowly, 413 for
            too many bytes, 422 for options that cannot work, 499 where the client is gone. Nothing is left then.
    """
    announced = request.headers.get("content-length", "")
    too_large = HTTPException(413, f"a request may have {limits.megabytes:g} MB: send fewer or smaller files")
    if announced.isdigit() and int(announced) > limits.bytes:
        raise too_large
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(400, "expected a form (multipart/form-data) with a file, as `curl -F file=@song.mp3` sends")
    limited = Request(request.scope, _limited(request, limits, too_large))
    try:
        async with limited.form(max_files=most_files, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES) as form:
            uploads = [value for key, value in form.multi_items() if not isinstance(value, str)]
            fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
            if not uploads:
                raise HTTPException(422, "the form has no file: send one as the field file")
            options = checked_options(fields, stems)
            return Form(await run_in_threadpool(_kept, uploads, incoming), options)
    except ConfigError as error:
        raise HTTPException(422, str(error)) from None
    except ClientDisconnect:
        raise HTTPException(CUT_OFF, "the connection was closed before the end of the upload") from None


def checked_options(fields: dict[str, str], stems: Sequence[str]) -> dict[str, Any]:
    """The options of the work, out of a form's fields of the names that `tfswa separate` has.

    Raises:
        ConfigError: for unknown names, and for values that cannot work with a model of these stems.
    """
    known = ("format", "stems", "two_stems", "residual", "clip", "tags")
    for name in fields:
        if name not in known:
            raise ConfigError(f"unknown option {name[:50]!r}: expected {', '.join(known)}")
    options: dict[str, Any] = {name: value for name, value in fields.items() if value}
    options.setdefault("format", DEFAULT_FORMAT)
    if "stems" in options:
        options["stems"] = [name.strip() for name in options["stems"].split(",") if name.strip()]
    if "tags" in options:
        if options["tags"].lower() not in (*FALSE, *TRUE):
            raise ConfigError(f"tags is {options['tags'][:50]!r}, expected true or false")
        options["tags"] = options["tags"].lower() in TRUE
    SeparationRequest([InputFile(Path("song.wav"), "song")], Path("song"), template="{stem}.{ext}", **options)
    Targets.choose(stems, options.get("stems"), options.get("two_stems"), options.get("residual"))
    return options


def shown_name(name: str | None) -> str:
    """A client's file name as it is shown: without folders and signs that control anything."""
    last = re.split(r"[/\\]", name or "")[-1]
    printable = "".join(sign for sign in last if sign.isprintable()).strip()
    return printable[-MOST_NAME:] or "song"


def _limited(request: Request, limits: Limits, too_large: HTTPException) -> Any:
    """The request's `receive`, which counts bytes and looks at the clock."""
    left, deadline = limits.bytes, time.monotonic() + limits.upload_seconds

    async def receive() -> MutableMapping[str, Any]:
        nonlocal left
        try:
            rest = min(limits.idle_seconds, deadline - time.monotonic())
            message = await asyncio.wait_for(request.receive(), max(rest, 0))
        except asyncio.TimeoutError:
            raise HTTPException(408, "the upload came too slowly or stood still: send it again") from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large
        return message

    return receive


def _kept(uploads: Sequence[UploadFile], incoming: Path) -> list[tuple[str, Path]]:
    """Write uploads to files of random names, all of them or none."""
    kept: list[tuple[str, Path]] = []
    try:
        for upload in uploads:
            path = incoming / os.urandom(16).hex()
            kept.append((shown_name(upload.filename), path))
            with path.open("xb") as file:
                shutil.copyfileobj(upload.file, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())  # what is accepted outlasts a power cut
    except BaseException:
        for _, path in kept:
            path.unlink(missing_ok=True)
        raise
    return kept
