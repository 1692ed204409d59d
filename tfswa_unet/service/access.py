"""Who may do what, and how often: tokens, hosts, origins, rates."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from tfswa_unet.errors import ConfigError
from tfswa_unet.service.settings import Settings
from tfswa_unet.service.table import JobTable

ANYONE = "anyone"  # owner of jobs where no tokens are needed
COOKIE = "tfswa_token"
PROBES = ("/healthz", "/readyz")
OPEN_PATHS = ("/", "/v1/session", "/openapi.json")
FORMS = ("/v1/jobs", "/v1/batches")  # whose bodies go to disk as they come
MOST_BYTES = 1 << 16  # of other bodies
TOKEN_SECONDS = 5.0  # for which the table's tokens are remembered
CLOSE_FORBIDDEN = 1008  # RFC 6455 section 7.4.1
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"private, no-store"),
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, which says nothing of 256 random bits."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def make_token(table: JobTable, name: str) -> str:
    """Make a token and keep its hash under a name; raises ConfigError where the name is taken or no name."""
    if not name.strip() or len(name) > 64:
        raise ConfigError(f"a token's name is {name!r}, expected 1 to 64 characters")
    token = secrets.token_urlsafe(32)
    if not table.add_token(name, digest(token)):
        raise ConfigError(f"there is a token named {name!r}: remove it first, or choose another name")
    return token


def check_open(settings: Settings, tokens: int) -> None:
    """Refuse to serve others than this machine without a token, unless told.

    Raises:
        ConfigError: where that is so.
    """
    if not (settings.local or settings.open or tokens):
        raise ConfigError(
            f"on host {settings.host} others reach the service, and it has no token: "
            "make one with `tfswa serve --add-token NAME`, or let everybody in with open=true"
        )


class Rate:
    """So many requests a minute of each client, as a bucket that fills again evenly."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._left: dict[str, tuple[float, float]] = {}  # requests, and when that was

    def wait(self, client: str) -> float:
        """Count a request, and give 0; or the seconds until there is room for one."""
        now = time.monotonic()
        left, then = self._left.get(client, (self._most, now))
        left = min(self._most, left + (now - then) * self._most / 60)
        if left < 1:
            return (1 - left) * 60 / self._most
        if len(self._left) > 10_000:  # clients that came once
            self._left.clear()
        self._left[client] = (left - 1, now)
        return 0.0


class Gate:
    """ASGI middleware in front of everything: refuses foreign hosts and origins, wrong tokens, and too many requests.

    The state of each request gets its `owner`, by which jobs are told apart: the token's hash.

    Args:
        app: what answers.
        settings: of the service.
        table: holds the tokens.
        on_request: told of each answer its method, its route, and the s that it took.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        settings: Settings,
        table: JobTable,
        on_request: Callable[[str, str, float], None],
    ) -> None:
        self._app, self._settings, self._table, self._on_request = app, settings, table, on_request
        self._rate = Rate(settings.limits.requests_per_minute)
        self._tokens: dict[str, str] = {}
        self._read = -TOKEN_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is not None:
            if scope["type"] == "websocket":
                await receive()  # its connect
                await send({"type": "websocket.close", "code": CLOSE_FORBIDDEN, "reason": "refused"})
            else:
                await refusal(scope, receive, _with_headers(send))
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        await self._app(scope, receive if scope["path"] in FORMS else _small(receive), _with_headers(send))
        route = scope.get("route")
        self._on_request(scope["method"], "none" if route is None else route.path, time.perf_counter() - began)

    def known(self, token: str) -> str | None:
        """The hash of a token that was made here, else None."""
        self._reread()
        hashed = digest(token)
        return hashed if hashed in self._tokens else None

    @property
    def needed(self) -> bool:
        """Whether a token is needed."""
        self._reread()
        return bool(self._tokens)

    def _reread(self) -> None:
        if time.monotonic() - self._read >= TOKEN_SECONDS:
            self._tokens, self._read = self._table.tokens(), time.monotonic()

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if scope["path"] in PROBES:
            return None
        host = headers.get("host", "")
        # A page elsewhere may name this machine by a name of its own (DNS rebinding), or send forms here.
        if not self._is_ours(host):
            return _refuse(421, f"this service is not called {host[:100]!r}: add the name to names=[…]")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refuse(403, "requests of other sites' pages are refused")
        announced = headers.get("content-length", "")
        if scope["path"] not in FORMS and announced.isdecimal() and int(announced) > MOST_BYTES:
            return _refuse(413, f"a request that is no form of songs may have {MOST_BYTES} bytes")
        scope.setdefault("state", {})
        client = (scope.get("client") or ("",))[0]
        owner: str | None = ANYONE
        if self.needed:
            owner = self.known(_token(scope, headers))
            if owner is None and scope["path"] not in OPEN_PATHS:
                if self._rate.wait(client) > 0:
                    return _refuse(429, "too many requests", 1)
                return _refuse(401, "a token is needed: send it as Authorization: Bearer TOKEN")
        waiting = self._rate.wait(owner if owner not in (None, ANYONE) else client)
        if waiting:
            most = self._settings.limits.requests_per_minute
            return _refuse(429, f"at most {most} requests a minute are answered", waiting)
        scope["state"]["owner"], scope["state"]["gate"] = owner, self
        return None

    def _is_ours(self, host: str) -> bool:
        # Elsewhere a token is needed, which a page under a foreign name has not; a proxy may give any name.
        if self._settings.local or self._settings.names:
            name = urlsplit(f"//{host}").hostname
            return name in ("localhost", "127.0.0.1", "::1", self._settings.host, *self._settings.names)
        return True


def _token(scope: Scope, headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _refuse(status: int, said: str, wait: float | None = None) -> JSONResponse:
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"detail": said}, status, headers)


def _small(receive: Receive) -> Receive:
    """`receive` of a body that may be read into memory; one that goes on without end counts as cut off."""
    left = MOST_BYTES

    async def received() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return received


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *(each for each in HEADERS if each[0] not in given)]
        await send(message)

    return sent
