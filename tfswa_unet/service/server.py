"""The server: the web application in this process, the model in a worker beside it, started anew where it dies."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

import uvicorn

from tfswa_unet.errors import ConfigError, RunError
from tfswa_unet.service.access import check_open
from tfswa_unet.service.app import build_app
from tfswa_unet.service.jobs import Service
from tfswa_unet.service.settings import Settings
from tfswa_unet.service.streams import MOST_BYTES, model_facts
from tfswa_unet.service.table import JobTable

LOG = logging.getLogger("tfswa.service")
# Not -m, by which every process that decodes would import the worker's module once more, in seconds.
START_WORKER = "import sys; from tfswa_unet.service.worker import main; sys.exit(main())"
STOP_SECONDS = 8.0  # for a worker to park its job
DRAIN_SECONDS = 2  # for open requests when the server ends
LOCK_SECONDS = 15.0  # for the worker of a server that was killed to end
AGAIN_SECONDS = (0.5, 30.0)  # before a worker is started anew: at first, and at most
MOST_CONNECTIONS = 1000
# Each job's threads would find themselves other arenas, each of which grows to what a job needs. One's own value stays.
ARENAS = {"MALLOC_ARENA_MAX": "1"}


class Supervisor:
    """Keeps a worker running, as a context manager; the jobs of one that died wait again at once.

    Args:
        settings: of the service.
        table: of its jobs.
        path: of the worker's Unix socket.
        lock: a file that is locked as long as a worker or this process lives.
    """

    def __init__(self, settings: Settings, table: JobTable, path: Path, lock: IO[str]) -> None:
        self.failed = False  # whether the worker cannot work with these settings
        self.on_failure = lambda: None
        self._settings, self._table, self._path, self._lock = settings, table, path, lock
        self._worker: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def __enter__(self) -> Supervisor:
        self._table.free(self._settings.name)
        self._start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        worker = self._worker
        if worker is not None:
            try:
                worker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self._thread.join()
        self._table.free(self._settings.name)

    def stop(self) -> None:
        """Tell the worker to park its job and end."""
        self._stop.set()
        if self._worker is not None:
            self._worker.terminate()

    @property
    def pid(self) -> int | None:
        """The worker's process."""
        return None if self._worker is None else self._worker.pid

    def _start(self) -> None:
        told = {"settings": self._settings.plain(), "worker": self._settings.name, "socket": str(self._path)}
        command = [sys.executable, "-c", START_WORKER]
        # The lock is inherited: another server waits until this worker is gone too.
        # A session of its own: Ctrl-C, which reaches all processes of a terminal, would end the decoder in mid-job.
        self._worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            pass_fds=[self._lock.fileno()],
            start_new_session=True,
            env={**ARENAS, **os.environ},
        )
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps(told).encode() + b"\n")
        self._worker.stdin.flush()

    def _run(self) -> None:
        wait, was_ready = AGAIN_SECONDS[0], False
        while True:
            assert self._worker is not None
            try:
                status = self._worker.wait(1)
            except subprocess.TimeoutExpired:
                if not was_ready and model_facts(self._path) is not None:
                    wait, was_ready = AGAIN_SECONDS[0], True
                continue
            if self._stop.is_set():
                return
            self._table.free(self._settings.name)
            if status == 1 and not was_ready:  # it said why
                self.failed = True
                self.on_failure()
                return
            LOG.warning("the worker ended with status %s: it is started anew in %.1f s", status, wait)
            if self._stop.wait(wait):
                return
            wait = min(2 * wait, AGAIN_SECONDS[1])
            was_ready = False
            self._start()


class Server(uvicorn.Server):
    """uvicorn's server, which tells the worker at once that the end has come."""

    def __init__(self, config: uvicorn.Config, supervisor: Supervisor) -> None:
        super().__init__(config)
        self._supervisor = supervisor

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._supervisor.stop()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        ConfigError: for a folder, a database, results or an address that cannot be used, or that others reach without
            a token.
        RunError: where the worker cannot load the model.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    table = open_table(settings)
    check_open(settings, len(table.tokens()))
    service = Service(settings, table)
    service.results.check()
    with (
        locked(settings) as lock,
        tempfile.TemporaryDirectory(prefix="tfswa-") as place,
        listening(settings) as listener,
    ):
        tempfile.tempdir = str(settings.incoming)  # where forms are spooled: beside the data, not in memory
        path = Path(place, "worker")
        supervisor = Supervisor(settings, table, path, lock)
        app = build_app(service, path, supervisor)
        config = uvicorn.Config(
            app,
            log_level="info",
            access_log=False,
            server_header=False,
            ws_max_size=MOST_BYTES,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        server = Server(config, supervisor)
        supervisor.on_failure = lambda: setattr(server, "should_exit", True)
        host, port = listener.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        server.run([listener])
        table.close()
    if supervisor.failed:
        raise RunError("the worker cannot load the model: its line above says why")


def open_table(settings: Settings) -> JobTable:
    """The table of a service's jobs, its folders made; raises ConfigError where they cannot be used."""
    try:
        for folder in (settings.jobs, settings.incoming):
            folder.mkdir(parents=True, exist_ok=True)
        settings.folder.chmod(0o700)
        return JobTable(settings.url)
    except Exception as error:  # of the file system, or of one of several database drivers
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if settings.database and "@" in settings.database:
            said = said.replace(settings.database, "the database")
        raise ConfigError(f"the data folder {settings.folder} or its database cannot be used: {said}") from None


def locked(settings: Settings) -> IO[str]:
    """Lock the data folder for this service's name; raises ConfigError where another one of that name runs."""
    file = (settings.folder / f"{os.path.basename(settings.name)}.lock").open("w")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() > deadline:
                file.close()
                raise ConfigError(
                    f"another service named {settings.name} works in {settings.folder}: "
                    "end it, or choose another folder with --data"
                ) from None
            time.sleep(0.1)


def listening(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say; raises ConfigError where that cannot be."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"{settings.host} port {settings.port} cannot be listened on ({error.strerror}): choose another with --port"
        ) from None
