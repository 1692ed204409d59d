"""Routes of jobs: made of uploads, watched, deleted; batches of them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from tfswa_unet.files import free_bytes
from tfswa_unet.service.results import Results
from tfswa_unet.service.settings import Settings
from tfswa_unet.service.table import ACTIVE, Job, JobTable, new_id
from tfswa_unet.service.uploads import Form, read_form

RETRY_SECONDS = 5
EVENT_SECONDS = 0.5
MOST_LISTED = 200
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
ROUTES = APIRouter(prefix="/v1")


class Service:
    """What all routes work with: the settings, the table of jobs, and what the worker said of its model."""

    def __init__(self, settings: Settings, table: JobTable) -> None:
        self.settings, self.table, self.results = settings, table, Results(settings)
        self.model: dict[str, Any] | None = None  # until the worker has loaded it
        self.streams = 0
        self._uploads = 0

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Count an upload; raises HTTPException where there are too many at the same time."""
        if self._uploads >= self.settings.limits.uploads:
            raise busy(f"{self._uploads} uploads are on their way")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    def check_room(self, owner: str) -> None:
        """Refuse a job that has no place, before it is uploaded; raises HTTPException."""
        limits = self.settings.limits
        if self.model is None:
            raise HTTPException(503, "the model is still being loaded", {"Retry-After": str(RETRY_SECONDS)})
        if free_bytes(self.settings.folder) < limits.free_gigabytes * 1e9:
            raise HTTPException(507, "the service's disk is full: try again when others' stems have expired")
        if not self.table.room(1, owner, limits.queued, limits.jobs_per_token):
            raise busy("too many jobs wait")

    def accept(self, form: Form, owner: str, batch: str | None) -> list[Job]:
        """Put uploads in line, all of them or none; raises HTTPException where there is no room."""
        limits, now = self.settings.limits, time.time()
        jobs = []
        try:
            for place, (name, upload) in enumerate(form.files):
                # So that a batch is done in its order.
                jobs.append(Job(new_id(), owner, batch, name, form.options, created=now + place * 1e-6))
                (self.settings.jobs / jobs[-1].id).mkdir()
                os.replace(upload, self.settings.jobs / jobs[-1].id / "upload")
            if not self.table.submit(jobs, limits.queued, limits.jobs_per_token):
                raise busy("too many jobs wait")
        except BaseException:
            for job in jobs:
                shutil.rmtree(self.settings.jobs / job.id, ignore_errors=True)
            for _, upload in form.files:
                upload.unlink(missing_ok=True)
            raise
        return jobs

    def delete(self, job: Job) -> None:
        """Cancel a job where it is not done, and delete its files; its worker deletes what it still writes."""
        if self.table.delete(job.id, job.owner):
            self.results.delete(job.id)


@dataclass(frozen=True)
class JobView:
    """A job as clients see it; times in s since 1970, `progress` from 0 to 1, `position` in the queue from 0."""

    id: str
    name: str
    state: str
    progress: float
    position: int | None
    seconds_left: float | None  # an estimate
    created: float
    started: float | None
    finished: float | None
    expires: float | None
    batch: str | None
    error: str | None
    options: dict[str, Any]
    facts: dict[str, Any]  # seconds of audio, rate, channels, elapsed, rtf, null_db, gain
    stems: dict[str, str]  # where each stem is


@dataclass(frozen=True)
class BatchView:
    """A batch and how many of its jobs are in each state."""

    id: str
    states: dict[str, int]
    done: bool  # whether no job waits or runs
    jobs: list[JobView]


EXAMPLE = {
    "id": "3f2b0c5d9f5e4a1b8c7d6e5f40312233",
    "name": "song.mp3",
    "state": "running",
    "progress": 0.42,
    "position": None,
    "seconds_left": 11.5,
    "created": 1750000000.0,
    "started": 1750000003.0,
    "finished": None,
    "expires": None,
    "batch": None,
    "error": None,
    "options": {"format": "flac24"},
    "facts": {},
    "stems": {},
}
FIELDS = {
    "url": {
        "type": "string",
        "format": "uri",
        "example": "https://files.example.org/song.flac",
        "description": "where to fetch the song instead, from hosts that the operator allows; a batch may have several",
    },
    "format": {"type": "string", "default": "flac24", "description": "as of tfswa separate --format"},
    "stems": {"type": "string", "example": "vocals,drums", "description": "only these of the model's stems"},
    "two_stems": {"type": "string", "example": "vocals", "description": "this stem and the mixture without it"},
    "residual": {"type": "string", "enum": ["stem", "spread"], "description": "make the stems sum to the song"},
    "clip": {"type": "string", "enum": ["none", "shared", "clamp"], "description": "above full scale"},
    "tags": {"type": "boolean", "default": True, "description": "copy title, artist and the like"},
}


FILE = {"type": "string", "format": "binary"}
MANIFEST = {
    "type": "string",
    "format": "binary",
    "description": "text with a URL a line, or a URL, a tab and a name",
    "example": "https://files.example.org/1.flac\tfirst\nhttps://files.example.org/2.flac",
}


def _body(**songs: dict[str, Any]) -> dict[str, Any]:
    """The description of a form that is read by `read_form`, one of whose fields `songs`, or url, has to be there."""
    one = [{"required": [name]} for name in (*songs, "url")]
    form = {"type": "object", "anyOf": one, "properties": {**songs, **FIELDS}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"content": {"application/json": {"example": EXAMPLE}}},
    403: {"description": "a URL of a host from which nothing is fetched"},
    413: {"description": "more bytes than are taken"},
    422: {"description": "options that cannot work"},
    429: {"description": "no room; Retry-After says when to try again"},
}


def busy(said: str) -> HTTPException:
    """The answer where there is no room."""
    wait = random.randint(RETRY_SECONDS, 2 * RETRY_SECONDS)  # so that not all come back at the same moment
    return HTTPException(429, f"{said}: try again later", {"Retry-After": str(wait)})


# Not def, which would run in another thread for nothing.
async def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service


async def owner_of(request: Request) -> str:
    """Who makes a request."""
    return str(request.state.owner)


Serving = Annotated[Service, Depends(service_of)]
Owner = Annotated[str, Depends(owner_of)]


def own_job(id: Id, service: Serving, owner: Owner) -> Job:
    """A job by its id, of the one who asks; raises HTTPException where there is none, or it is another's."""
    job = service.table.get(id, owner)
    if job is None:
        raise HTTPException(404, "there is no such job")
    return job


def own_batch(id: Id, service: Serving, owner: Owner) -> list[Job]:
    """The jobs of a batch; raises HTTPException where there is none."""
    jobs = service.table.of(owner, id)
    if not jobs:
        raise HTTPException(404, "there is no such batch")
    return jobs[::-1]


OwnJob = Annotated[Job, Depends(own_job)]


def view(service: Service, job: Job) -> JobView:
    """A job as its client sees it."""
    now, files = time.time(), dict(job.facts.get("files", {}))
    left = None
    if job.state == "running" and job.started is not None and job.progress > 0:
        left = round((now - job.started) * (1 - job.progress) / job.progress, 1)
    return JobView(
        job.id,
        job.name,
        job.state,
        round(job.progress, 4),
        service.table.before(job) if job.state == "queued" else None,
        left,
        job.created,
        job.started,
        job.finished,
        job.expires,
        job.batch,
        job.error,
        dict(job.options),
        {key: value for key, value in job.facts.items() if key != "files"},
        {stem: f"/v1/jobs/{job.id}/stems/{stem}" for stem in files},
    )


def batch_view(service: Service, id: str, jobs: Sequence[Job]) -> BatchView:
    """A batch as its client sees it."""
    states = [job.state for job in jobs]
    counts = {state: states.count(state) for state in ("queued", "running", "done", "failed")}
    return BatchView(id, counts, not set(states) & set(ACTIVE), [view(service, job) for job in jobs])


async def _accepted(request: Request, service: Service, owner: str, most_songs: int, batch: str | None) -> list[Job]:
    await run_in_threadpool(service.check_room, owner)
    assert service.model is not None
    with service.uploading():
        form = await read_form(request, service.settings, service.model["stems"], most_songs)
    return await run_in_threadpool(service.accept, form, owner, batch)


@ROUTES.post("/jobs", status_code=202, responses=ACCEPTED, openapi_extra=_body(file=FILE))
async def make_job(request: Request, response: Response, service: Serving, owner: Owner) -> JobView:
    """Upload a song to be separated, or say where it is."""
    (job,) = await _accepted(request, service, owner, 1, None)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return await run_in_threadpool(view, service, job)


@ROUTES.post(
    "/batches",
    status_code=202,
    responses={code: ACCEPTED[code] for code in (403, 413, 422, 429)},
    openapi_extra=_body(files={"type": "array", "items": FILE}, manifest=MANIFEST),
)
async def make_batch(request: Request, response: Response, service: Serving, owner: Owner) -> BatchView:
    """Upload several songs, or list where they are, with one summary: all of them are taken, or none."""
    id = new_id()
    jobs = await _accepted(request, service, owner, service.settings.limits.files_per_batch, id)
    response.headers["Location"] = f"/v1/batches/{id}"
    return await run_in_threadpool(batch_view, service, id, jobs)


@ROUTES.get("/jobs")
def list_jobs(service: Serving, owner: Owner) -> list[JobView]:
    """One's own jobs, the newest first."""
    return [view(service, job) for job in service.table.of(owner, limit=MOST_LISTED)]


@ROUTES.get("/jobs/{id}", responses={200: {"content": {"application/json": {"example": EXAMPLE}}}})
def get_job(job: OwnJob, service: Serving) -> JobView:
    """A job: state, progress, time left, facts, and where its stems are."""
    return view(service, job)


@ROUTES.get("/jobs/{id}/events", response_class=EventSourceResponse)
async def job_events(job: OwnJob, service: Serving) -> AsyncIterable[ServerSentEvent]:
    """A job whenever it changes, as server-sent events named job; the last one has ended, or is named deleted."""
    before, now = None, job
    while True:
        shown = await run_in_threadpool(view, service, now)
        if replace(shown, seconds_left=None) != before:
            before = replace(shown, seconds_left=None)
            yield ServerSentEvent(event="job", data=shown)
        if now.state not in ACTIVE:
            return
        await asyncio.sleep(EVENT_SECONDS)
        found = await run_in_threadpool(service.table.get, job.id, job.owner)
        if found is None:
            yield ServerSentEvent(event="deleted", data={"id": job.id})
            return
        now = found


@ROUTES.delete("/jobs/{id}", status_code=204)
def delete_job(job: OwnJob, service: Serving) -> None:
    """Cancel a job where it is not done, and delete it with its stems."""
    service.delete(job)


@ROUTES.get("/batches/{id}")
def get_batch(id: Id, jobs: Annotated[list[Job], Depends(own_batch)], service: Serving) -> BatchView:
    """A batch: how many of its jobs are done, and each of them."""
    return batch_view(service, id, jobs)


@ROUTES.delete("/batches/{id}", status_code=204)
def delete_batch(jobs: Annotated[list[Job], Depends(own_batch)], service: Serving) -> None:
    """Delete a batch's jobs, each as by itself."""
    for job in jobs:
        service.delete(job)
