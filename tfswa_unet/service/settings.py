"""What a service is told: conf/serve.yaml as records, checked before anything starts."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.service.hosts import Hosts


@dataclass(frozen=True)
class Separation:
    """How the model works, as the options of `tfswa separate` of the same names."""

    device: str
    preset: str
    precision: str | None
    segment: float | None  # s
    overlap: float | None  # s
    batch: int | None
    threads: int | None

    def options(self) -> dict[str, Any]:
        """What `Separator.load` takes after the model."""
        names = {"segment": "segment_seconds", "overlap": "overlap_seconds"}
        return {names.get(name, name): value for name, value in asdict(self).items() if name != "threads"}


@dataclass(frozen=True)
class Limits:
    """The most that a client may ask for; conf/serve.yaml says of each what it counts."""

    megabytes: float
    seconds: float
    channels: int
    queued: int
    jobs_per_token: int
    files_per_batch: int
    requests_per_minute: int
    uploads: int
    upload_seconds: float
    idle_seconds: float
    streams: int
    stream_seconds: float
    decode_seconds: int
    decode_megabytes: int
    free_gigabytes: float
    attempts: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in ("free_gigabytes", "streams")):
                raise ConfigError(f"limits.{field.name} is {value}, expected a number above 0")

    @property
    def bytes(self) -> int:
        """Bytes of one request."""
        return int(self.megabytes * 1e6)


@dataclass(frozen=True)
class Settings:
    """All that a service is told; raises ConfigError for what cannot work."""

    model: str | None
    data: str
    host: str
    port: int
    database: str | None
    node: str | None
    results: str | None
    names: tuple[str, ...]
    open: bool
    url_hosts: tuple[str, ...]
    url_networks: tuple[str, ...]
    keep_hours: float
    lease_seconds: float
    separation: Separation
    limits: Limits

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise ConfigError(f"port is {self.port}, expected 1 to 65535, or 0 for any that is free")
        if self.keep_hours <= 0 or self.lease_seconds < 1:
            raise ConfigError(
                f"keep_hours={self.keep_hours} and lease_seconds={self.lease_seconds}: "
                "jobs are kept for a time above 0, and leases last a second or more"
            )
        if self.results is not None and self.results.startswith("memory:"):
            raise ConfigError(
                f"results is {self.results}: server and worker are two processes, and memory is of one; name a folder, "
                "s3://BUCKET/PREFIX or the like"
            )
        Hosts(self.url_hosts, self.url_networks)  # refuses what cannot work

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values, such as those that `plain` gave."""
        return from_values(cls, values, "")

    def plain(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data).absolute()

    @property
    def jobs(self) -> Path:
        """Folder of a folder for each job."""
        return self.folder / "jobs"

    @property
    def incoming(self) -> Path:
        """Folder of uploads on their way."""
        return self.folder / "incoming"

    @property
    def url(self) -> str:
        """The job table's database as SQLAlchemy names it."""
        return self.database or f"sqlite:///{self.folder / 'jobs.sqlite'}"

    @property
    def name(self) -> str:
        """This service's name among those that share the data folder."""
        return self.node or socket.gethostname()

    @property
    def local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
