"""Which hosts songs may be fetched from: names as the operator lists them, and addresses that are public."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

from tfswa_unet.errors import ConfigError, UserError

PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
MOST_URL = 2000  # characters
SAFE = "/%:@!$&'()*+,;=?~"  # signs of a path that stay as they are
UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291 section 2.4
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 addresses in IPv6, RFC 6052 section 2.1
FORBIDDEN, IMPOSSIBLE, TOO_LARGE = 403, 422, 413  # statuses of answers

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(UserError):
    """A song is not fetched; `answer` is the status that a client gets."""

    def __init__(self, answer: int, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = answer


@dataclass(frozen=True)
class Place:
    """A URL whose host and port are allowed; `target` is its path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port, as a request's header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL, to which others may be relative."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a key."""
        return self.url.partition("?")[0][:100]

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(self.target.partition("?")[0].rpartition("/")[2])


class Hosts:
    """Hosts that songs may be fetched from.

    Args:
        names: hosts, each for ports 80 and 443, or hosts with a port, such as files.example.org:8443.
        networks: of addresses that these hosts may have beside public ones, such as 10.0.0.0/8. A host that is listed
            as an address may have it.

    Raises:
        ConfigError: for what is no host or no network.
    """

    def __init__(self, names: Sequence[str], networks: Sequence[str]) -> None:
        self._ports: dict[str, set[int]] = {}
        for name in names:
            host, ports = _entry(name)
            self._ports.setdefault(host, set()).update(ports)
        try:
            self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        except ValueError as error:
            raise ConfigError(f"url_networks has what is no network ({error}): expected such as 10.0.0.0/8") from None

    def check(self, url: str, base: str = "") -> Place:
        """A URL's parts, before anything is connected to; raises Refused for what is not allowed or no URL.

        Args:
            url: as it was given.
            base: the URL to which it may be relative.
        """
        if not self._ports:
            raise Refused(FORBIDDEN, "this service fetches no URLs (url_hosts is empty): send the song as a file")
        if len(url) > MOST_URL or not (url.isascii() and url.isprintable()):
            raise Refused(
                IMPOSSIBLE, f"a URL has up to {MOST_URL} characters of ASCII: encode others, as ü becomes %C3%BC"
            )
        try:
            parts = urlsplit(urljoin(base, url))
            host, port = _plain(parts.hostname or ""), parts.port
        except ValueError:
            raise Refused(IMPOSSIBLE, "the URL cannot be read: expected https://HOST/PATH") from None
        if parts.scheme not in PORTS:
            raise Refused(IMPOSSIBLE, f"a URL begins with http:// or https://, got {url[:50]!r}")
        if "@" in parts.netloc or "\\" in parts.netloc:
            raise Refused(IMPOSSIBLE, "a URL with a user's name or password is not fetched: leave them out")
        port = PORTS[parts.scheme] if port is None else port
        if port not in self._ports.get(host, ()):
            raise Refused(
                FORBIDDEN,
                f"songs are not fetched from {host[:100]!r}, port {port}: send the file itself, or have the service's "
                "operator add that host to url_hosts",
            )
        target = quote(parts.path or "/", SAFE) + (f"?{quote(parts.query, SAFE)}" if parts.query else "")
        return Place(parts.scheme, host, port, target)

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of an allowed host; raises Refused where it has none, or one that is not allowed.

        Whoever connects has to take these, as a name's next answer may be another (DNS rebinding).
        """
        if _address(host) is not None:
            return [host]
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Refused(IMPOSSIBLE, f"there is no host named {host!r}: check the URL") from None
        texts = [str(entry[4][0]) for entry in found]
        for text in texts:
            if not self._allowed(ipaddress.ip_address(text)):
                raise Refused(
                    FORBIDDEN,
                    f"{host} has an address that is not public: send the file itself, or have the service's operator "
                    "add its network to url_networks",
                )
        return texts

    def _allowed(self, address: Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            elif address in TRANSLATED:
                address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return is_public(address) or any(address in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open Internet, and not one that leads to an IPv4 address within it."""
    if isinstance(address, ipaddress.IPv6Address):
        within = address.sixtofour is not None or address.teredo is not None
        return address in UNICAST and address.is_global and not within
    return address.is_global and not address.is_multicast


def _entry(name: str) -> tuple[str, tuple[int, ...]]:
    """Host and ports of an entry of `url_hosts`."""
    wrong = ConfigError(f"url_hosts has {name!r}: expected a host, such as files.example.org, or host:port")
    if _address(name) is not None:
        return _plain(name), tuple(PORTS.values())
    try:
        parts = urlsplit(f"//{name}")
        host, port = _plain(parts.hostname or ""), parts.port
    except ValueError:
        raise wrong from None
    if name.lower() != parts.netloc.lower() or "@" in name or not (HOST.fullmatch(host) or _address(host) is not None):
        raise wrong
    return host, tuple(PORTS.values()) if port is None else (port,)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _plain(host: str) -> str:
    """A host in the one way in which it is compared."""
    address = _address(host)
    return host.lower() if address is None else str(address)
