"""Uploads: forms whose files go to disk as they come, within limits of bytes and time, and the URLs that they name."""

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
from tfswa_unet.inference.catalogue import listed_songs
from tfswa_unet.inference.request import InputFile
from tfswa_unet.inference.request import Request as SeparationRequest
from tfswa_unet.inference.stem_files import Targets
from tfswa_unet.service.fetching import Wanted, all_or_none, fetch
from tfswa_unet.service.hosts import Hosts, Refused
from tfswa_unet.service.settings import Limits, Settings

FIELD_BYTES = 1 << 12  # of a field that is no file
MOST_FIELDS = 12
MOST_NAME = 200  # characters
DEFAULT_FORMAT = "flac24"
URL, MANIFEST = "url", "manifest"  # fields
MOST_MANIFEST = 200_000  # bytes
WITH_FILES, WITHOUT = "multipart/form-data", "application/x-www-form-urlencoded"  # forms
FALSE, TRUE = ("false", "0", "no", "off"), ("true", "1", "yes", "on")
CUT_OFF = 499  # as nginx says that the client closed the connection


@dataclass(frozen=True)
class Form:
    """What was uploaded: files on disk, under the names that the client gives them, and the options of the work."""

    files: Sequence[tuple[str, Path]]
    options: dict[str, Any]


async def read_form(request: Request, settings: Settings, stems: Sequence[str], most_songs: int) -> Form:
    """Read a form of songs and options to files in the folder of uploads.

    Songs are files, named file or files, and what is behind URLs: fields named url, and lines of a field or file named
    manifest, such as `tfswa separate --manifest` reads. Files come first.

    Raises:
        HTTPException: 400 for what is no such form or has too many songs, 403 for URLs that are not fetched, 408 for a
            form that comes too slowly, 413 for too many bytes, 422 for options that cannot work and URLs behind which
            there is nothing, 499 where the client is gone. Nothing is left then.
    """
    limits = settings.limits
    announced = request.headers.get("content-length", "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    most_bytes = limits.bytes if kind == WITH_FILES else min(limits.bytes, MOST_FIELDS * FIELD_BYTES)
    too_large = HTTPException(413, f"a request may have {most_bytes / 1e6:g} MB: send fewer or smaller files")
    if kind not in (WITH_FILES, WITHOUT):
        raise HTTPException(400, f"expected a form ({WITH_FILES}) with a file, as `curl -F file=@song.mp3` sends")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise too_large
    limited = Request(request.scope, _limited(request, limits, most_bytes, too_large))
    hosts = Hosts(settings.url_hosts, settings.url_networks)
    try:
        async with limited.form(max_files=most_songs + 1, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES) as form:
            items = form.multi_items()
            uploads, wanted = await _songs(items, hosts, most_songs)
            fields = {key: value for key, value in items if isinstance(value, str) and key not in (URL, MANIFEST)}
            options = checked_options(fields, stems)
            files = await run_in_threadpool(_kept, uploads, settings.incoming)
        if wanted:
            with all_or_none(files):
                left = limits.bytes - sum(path.stat().st_size for _, path in files)
                files += await fetch(wanted, hosts, limits, left, settings.incoming)
        return Form(files, options)
    except Refused as error:
        raise HTTPException(error.answer, str(error)) from None
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


async def _songs(
    items: Sequence[tuple[str, UploadFile | str]], hosts: Hosts, most: int
) -> tuple[list[UploadFile], list[Wanted]]:
    """A form's files, and its songs behind URLs."""
    uploads: list[UploadFile] = []
    urls: list[tuple[str, str, str]] = []  # URL, name, and what begins messages of it
    for key, value in items:
        if key == MANIFEST:
            urls += await _lines(value)
        elif not isinstance(value, str):
            uploads.append(value)
        elif key == URL:
            urls.append((value, "", ""))
    count = len(uploads) + len(urls)
    if not count:
        raise HTTPException(422, "the form has no song: send one as the field file, or its URL as the field url")
    if count > most:
        where = "" if most > 1 else ": POST /v1/batches takes several"
        raise HTTPException(400, f"the form has {count} songs, at most {most} are taken{where}")
    return uploads, [_wanted(hosts, *each) for each in urls]


async def _lines(manifest: UploadFile | str) -> list[tuple[str, str, str]]:
    """The songs of a manifest: a URL a line, or a URL, a tab and a name."""
    if not isinstance(manifest, str):
        read = await manifest.read(MOST_MANIFEST + 1)
        if len(read) > MOST_MANIFEST:
            raise HTTPException(413, f"a manifest may have {MOST_MANIFEST / 1e6:g} MB: split it")
        try:
            manifest = read.decode("utf-8-sig")
        except UnicodeError:
            raise HTTPException(422, "the manifest is no text in UTF-8: give a URL a line") from None
    songs = [(url, name, f"line {n} of the manifest: ") for n, url, name in listed_songs(manifest.splitlines())]
    if not songs:
        raise HTTPException(422, "the manifest lists no song: give a URL a line")
    return songs


def _wanted(hosts: Hosts, url: str, name: str, where: str) -> Wanted:
    try:
        place = hosts.check(url)
    except Refused as error:
        raise Refused(error.answer, f"{where}{error}") from None
    return Wanted(place, shown_name(name or place.name), where)


def _limited(request: Request, limits: Limits, most_bytes: int, too_large: HTTPException) -> Any:
    """The request's `receive`, which counts bytes and looks at the clock."""
    left, deadline = most_bytes, time.monotonic() + limits.upload_seconds

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
    with all_or_none(kept):
        for upload in uploads:
            path = incoming / os.urandom(16).hex()
            kept.append((shown_name(upload.filename), path))
            with path.open("xb") as file:
                shutil.copyfileobj(upload.file, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())  # what is accepted outlasts a power cut
    return kept
