"""Songs behind URLs: fetched to disk as they come, from hosts that are allowed, within the limits of uploads."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import httpcore

from tfswa_unet import __version__
from tfswa_unet.service.hosts import IMPOSSIBLE, TOO_LARGE, Hosts, Place, Refused
from tfswa_unet.service.settings import Limits

MOST_REDIRECTS = 5
HEADERS = (("Accept-Encoding", "identity"), ("User-Agent", f"tfswa/{__version__}"))
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Wanted:
    """A song to fetch; `where` begins what is said of it."""

    place: Place
    name: str  # as it is shown
    where: str


class Checked(httpcore.AsyncNetworkBackend):
    """Connects to a host's addresses that were checked, and asks for them once."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts, self._network = hosts, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the addresses that answers."""
        fault: Exception | None = None
        for address in await self._hosts.addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        raise fault or httpcore.ConnectError("the host has no address")


async def fetch(
    wanted: Sequence[Wanted], hosts: Hosts, limits: Limits, most_bytes: int, incoming: Path
) -> list[tuple[str, Path]]:
    """Fetch songs to files of random names in a folder, all of them or none.

    Args:
        wanted: the songs, one after the other.
        hosts: where redirects may lead.
        limits: of time.
        most_bytes: of all together.
        incoming: the folder.

    Returns:
        shown name and file of each.

    Raises:
        Refused: 403 for redirects to what is not allowed, 413 for too many bytes, 422 for what cannot be had.
            Nothing is left then.
    """
    fetched: list[tuple[str, Path]] = []

    async def all_of_them() -> None:
        left = most_bytes
        async with httpcore.AsyncConnectionPool(_trust(), network_backend=Checked(hosts)) as pool:
            for each in wanted:
                path = incoming / os.urandom(16).hex()
                fetched.append((each.name, path))
                try:
                    left -= await _download(pool, hosts, each.place, path, left, limits.idle_seconds)
                except Refused as error:
                    raise Refused(error.answer, f"{each.where}{error}") from None

    with all_or_none(fetched):
        try:
            await asyncio.wait_for(all_of_them(), limits.upload_seconds)
        except asyncio.TimeoutError:
            raise Refused(
                IMPOSSIBLE, f"what is behind the URLs did not come within {limits.upload_seconds:g} s: send fewer"
            ) from None
    return fetched


@contextmanager
def all_or_none(files: Iterable[tuple[str, Path]]) -> Iterator[None]:
    """Delete files, given with their names, where what is done with them fails: those that are listed by then."""
    try:
        yield
    except BaseException:
        for _, path in files:
            path.unlink(missing_ok=True)
        raise


async def _download(
    pool: httpcore.AsyncConnectionPool, hosts: Hosts, place: Place, path: Path, most: int, idle_seconds: float
) -> int:
    """Write what is behind a URL to a new file; give its bytes."""
    asked, timeouts = place, dict.fromkeys(("connect", "read", "write", "pool"), idle_seconds)
    try:
        for _ in range(MOST_REDIRECTS + 1):
            url = httpcore.URL(scheme=place.scheme, host=place.host, port=place.port, target=place.target)
            headers: list[tuple[bytes | str, bytes | str]] = [("Host", place.netloc), *HEADERS]
            async with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
                given = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in REDIRECTS and b"location" in given:
                    place = hosts.check(given[b"location"], place.url)
                    continue
                if response.status != 200:
                    raise Refused(IMPOSSIBLE, f"{asked.shown}: the server answers {response.status}, not 200")
                return await _written(response, path, most, given.get(b"content-length", ""))
        raise Refused(IMPOSSIBLE, f"{asked.shown}: leads on more than {MOST_REDIRECTS} times: give the last URL")
    except httpcore.TimeoutException:
        raise Refused(IMPOSSIBLE, f"{asked.shown}: nothing came for {idle_seconds:g} s: try again") from None
    except httpcore.ConnectError as error:
        is_trusted = not any(isinstance(each, ssl.SSLError) for each in error.args)
        why = "cannot be reached: check the URL" if is_trusted else "has no certificate that is to be trusted"
        raise Refused(IMPOSSIBLE, f"{asked.shown}: the host {why}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError):
        raise Refused(IMPOSSIBLE, f"{asked.shown}: the connection broke off: try again") from None


async def _written(response: httpcore.Response, path: Path, most: int, announced: str) -> int:
    too_large = Refused(TOO_LARGE, "what is behind the URLs has more bytes than a request may have: send fewer")
    if announced.isdecimal() and int(announced) > most:
        raise too_large
    count = 0
    async with await anyio.open_file(path, "xb") as file:
        async for chunk in response.aiter_stream():
            count += len(chunk)
            if count > most:
                raise too_large
            await file.write(chunk)
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())  # what is accepted outlasts a power cut
    return count


@cache
def _trust() -> ssl.SSLContext:
    return httpcore.default_ssl_context()
