"""The web application: routes of jobs and downloads, streams, health, metrics, and the page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tfswa_unet import __version__
from tfswa_unet.audio import FORMATS as FILE_FORMATS
from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.pages import page
from tfswa_unet.service import downloads, jobs
from tfswa_unet.service.access import COOKIE, Gate
from tfswa_unet.service.decoding import RATES
from tfswa_unet.service.jobs import Service, Serving
from tfswa_unet.service.streams import FORMATS, TOO_MANY, model_facts, relay
from tfswa_unet.service.table import ACTIVE, JobTable

LOG = logging.getLogger("tfswa.service")
ASK_SECONDS = 0.5  # between questions to a worker that still loads its model
COOKIE_SECONDS = 30 * 24 * 3600
PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; script-src {scripts}; style-src {styles}"
)


class Figures:
    """What /metrics tells: of the table, so that a restart loses nothing, and of requests since the start."""

    def __init__(self, table: JobTable, ready: Callable[[], bool]) -> None:
        self._table, self._ready = table, ready

    def collect(self) -> Iterator[Metric]:
        """The figures as Prometheus wants them."""
        states, totals = self._table.states(), self._table.totals()
        queue = GaugeMetricFamily("tfswa_jobs", "Jobs that are kept, by state.", labels=["state"])
        for state in (*ACTIVE, "done", "failed"):
            queue.add_metric([state], states.get(state, 0))
        yield queue
        ended = CounterMetricFamily("tfswa_jobs_ended", "Jobs that ended, by how.", labels=["end"])
        for end in ("done", "failed", "cancelled"):
            ended.add_metric([end], totals[end])
        yield ended
        audio, work = totals["audio_seconds"], totals["work_seconds"]
        yield CounterMetricFamily("tfswa_audio_seconds", "Seconds of songs that were separated.", value=audio)
        yield CounterMetricFamily("tfswa_work_seconds", "Seconds that separating them took.", value=work)
        factor = work / audio if audio else 0.0
        yield GaugeMetricFamily("tfswa_real_time_factor", "Seconds of work for a second of songs.", value=factor)
        yield GaugeMetricFamily("tfswa_ready", "1 where the model is loaded.", value=float(self._ready()))


def build_app(service: Service, socket: Path, running: AbstractContextManager[object]) -> FastAPI:
    """The application of a service.

    Args:
        service: the settings and the table of jobs.
        socket: the worker's Unix socket.
        running: entered while the application serves: what starts and ends the worker.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with running:
            asking = asyncio.create_task(_ask(service, socket))
            yield
            asking.cancel()

    app = FastAPI(
        title="tfswa",
        version=__version__,
        description="Music source separation: songs in, stems out.",
        lifespan=lifespan,
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
    )
    registry = CollectorRegistry()
    registry.register(Figures(service.table, lambda: model_facts(socket) is not None))
    seconds = Histogram(
        "tfswa_request_seconds", "Until requests were answered.", ["method", "route"], registry=registry
    )

    app.state.service, app.state.socket, app.state.registry = service, socket, registry
    app.state.page = _page()
    app.add_middleware(
        Gate,
        settings=service.settings,
        table=service.table,
        on_request=lambda method, route, took: seconds.labels(method, route).observe(took),
    )
    for routes in (jobs.ROUTES, downloads.ROUTES):
        app.include_router(routes)
    _add_routes(app)
    return app


class Session(BaseModel):
    """The token that a browser is to keep."""

    token: str = Field(max_length=200)


def _add_routes(app: FastAPI) -> None:
    app.get("/", response_class=HTMLResponse)(get_page)
    app.post("/v1/session", status_code=204)(open_session)
    app.delete("/v1/session", status_code=204)(close_session)
    app.get("/v1/models")(list_models)
    app.get("/healthz")(health)
    app.get("/readyz")(readiness)
    app.get("/metrics", response_class=Response)(metrics)
    app.websocket("/v1/stream")(stream)


def get_page(request: Request) -> HTMLResponse:
    """The page for browsers."""
    text, policy = request.app.state.page
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def open_session(given: Session, request: Request, response: Response) -> None:
    """Have a browser keep a token as a cookie, which scripts cannot read and other sites' pages do not send."""
    if request.state.gate.known(given.token) is None:
        raise HTTPException(401, "this is no token of this service")
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIE, given.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict", secure=secure, path="/"
    )


def close_session(response: Response) -> None:
    """Have a browser forget its token."""
    response.delete_cookie(COOKIE, path="/")


def list_models(service: Serving) -> list[dict[str, Any]]:
    """The model that serves, its stems, rate and channels, and what may be asked for."""
    limits = service.settings.limits
    taken = {"megabytes": limits.megabytes, "seconds": limits.seconds, "channels": limits.channels}
    name = Path(service.settings.model or DEFAULT_MODEL).stem  # nobody needs to know where it lies
    return [{"name": name, "formats": list(FILE_FORMATS), "limits": taken, **(service.model or {})}]


def health() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "alive"}


def readiness(request: Request) -> dict[str, str]:
    """Whether jobs are accepted and worked on: the table answers and the worker has its model."""
    service: Service = request.app.state.service
    try:
        service.table.states()
    except Exception:
        LOG.warning("the table of jobs does not answer", exc_info=True)
        raise HTTPException(503, "the table of jobs does not answer") from None
    if service.model is None or model_facts(request.app.state.socket) is None:
        raise HTTPException(503, "the worker has no model yet")
    return {"status": "ready"}


def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


async def stream(
    client: WebSocket,
    rate: Annotated[int, Query(ge=RATES[0], le=RATES[1])] = 44_100,
    channels: Annotated[int, Query(ge=1, le=8)] = 2,
    format: Annotated[str, Query(pattern=f"^({'|'.join(FORMATS)})$")] = "f32le",
    stems: Annotated[str | None, Query(max_length=200)] = None,
) -> None:
    """Separate while it comes: binary messages of interleaved samples in, and out.

    The first message out is JSON: stems, rate, channels, format, latency (s). Each binary message out holds equally
    many samples of each stem, one stem after the other, each interleaved. After the text `end` the rest comes, then
    JSON with the number of samples. A fault is JSON with error, and ends the stream.
    """
    await client.accept()
    service: Service = client.app.state.service
    limits = service.settings.limits
    if service.streams >= limits.streams:
        await client.send_json({"error": f"{service.streams} streams are open, no more are served: try again later"})
        await client.close(TOO_MANY)
        return
    service.streams += 1
    try:
        names = [name.strip() for name in stems.split(",") if name.strip()] if stems else None
        asked = {"rate": rate, "channels": channels, "format": format, "stems": names}
        await relay(client, client.app.state.socket, asked, limits.idle_seconds)
    finally:
        service.streams -= 1


async def _ask(service: Service, socket: Path) -> None:
    """Ask the worker for its model until it has one; it keeps it when the worker is started anew."""
    while service.model is None:
        service.model = await run_in_threadpool(model_facts, socket)
        await asyncio.sleep(0 if service.model else ASK_SECONDS)


def _page() -> tuple[str, str]:
    """The page, and a policy by which a browser runs and draws nothing but what it holds."""
    text = page("service.html", title="Stems", version=__version__)

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found]
        return " ".join(f"'sha256-{each}'" for each in digests) or "'none'"

    return text, PAGE_POLICY.format(scripts=hashes("script"), styles=hashes("style"))
