"""Services: the application alone, with jobs that nobody works on, and whole ones as `tfswa serve` starts them."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from tests.cli.conftest import small_config
from tfswa_unet import audio, models
from tfswa_unet.bundle import save_bundle
from tfswa_unet.config import compose_values
from tfswa_unet.service.app import build_app
from tfswa_unet.service.jobs import Service
from tfswa_unet.service.server import open_table
from tfswa_unet.service.settings import Settings

ROOT = Path(__file__).parents[2]
STEMS = ("vocals", "drums", "bass", "other")
FACTS = {"stems": list(STEMS), "rate": 44_100, "channels": 2, "device": "cpu", "precision": "fp32"}
URL = "http://127.0.0.1"
UNTIL_SECONDS = 600  # after which what does not come is given up, on a busy machine too


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A model that runs in milliseconds."""
    torch.manual_seed(0)
    return save_bundle(tmp_path_factory.mktemp("bundle") / "small.safetensors", models.build(small_config()).eval())


def sound(seconds, channels=2, rate=44_100, seed=0):
    """Noise (c, t) at −20 dB."""
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, int(seconds * rate)))).astype(np.float32)


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """A file of half a second."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    audio.write(path, sound(0.5), 44_100, "wav16", {"title": "Noise"})
    return path


@pytest.fixture
def settings(tmp_path):
    """Make settings with an empty data folder."""

    def make(*overrides, **given):
        values = compose_values("serve", ["limits.free_gigabytes=0", "node=here", *overrides])
        return Settings.from_values({**values, "data": str(tmp_path / "data"), **given})

    return make


@pytest.fixture
def application(settings, tmp_path):
    """Make a client of an application without a worker: jobs stay in the queue."""
    opened = []

    def make(*overrides, token=None, **given):
        told = settings(*overrides, **given)
        service = Service(told, open_table(told))
        service.model = dict(FACTS)
        app = build_app(service, tmp_path / "none", nullcontext())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = TestClient(app, base_url=URL, headers=headers, raise_server_exceptions=True)
        client.service = service
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()
        client.service.table.close()


class Served:
    """A service in processes of its own."""

    def __init__(self, command, log):
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log.open("ab"), text=True, env=environment
        )
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http"), log.read_text()
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def until_ready(self):
        self.until(lambda: self.client.get("/readyz").status_code == 200)
        return self

    def until(self, true):
        deadline = time.monotonic() + UNTIL_SECONDS
        while not true():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def upload(self, path, **options):
        with path.open("rb") as file:
            answer = self.client.post("/v1/jobs", files={"file": (path.name, file)}, data=options)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, id):
        return self.client.get(f"/v1/jobs/{id}").raise_for_status().json()

    def until_done(self, id):
        self.until(lambda: self.job(id)["state"] in ("done", "failed"))
        return self.job(id)

    def stems(self, id):
        return {name: self.client.get(url).raise_for_status().content for name, url in self.job(id)["stems"].items()}

    @property
    def worker(self):
        """The worker's process id."""
        listed = subprocess.run(["ps", "-axo", "pid=,ppid=,command="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            own, parent, command = line.split(None, 2)
            if int(parent) == self.process.pid and "service.worker" in command:
                return int(own)
        return None

    def kill(self, worker=False, server=False):
        """kill −9 of the worker, the server, or both at once."""
        ids = ([self.worker] if worker else []) + ([self.process.pid] if server else [])
        for id in ids:
            if id is not None:
                os.kill(id, signal.SIGKILL)
        if server:
            self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()
        self.client.close()


@pytest.fixture(scope="session")
def started(bundle):
    """Start `tfswa serve` on a data folder with a small model and short segments."""

    @contextmanager
    def start(data, *arguments, node="here"):
        command = [sys.executable, "-m", "tfswa_unet", "serve", "--model", bundle, "--data", data, "--port", "0"]
        settings = ["separation.segment=1", "separation.overlap=0.5", "limits.free_gigabytes=0", f"node={node}"]
        data.mkdir(exist_ok=True)
        served = Served([*map(str, command), *arguments, *settings], data.parent / f"{node}.log")
        try:
            yield served
        finally:
            served.end()

    return start


@pytest.fixture(scope="session")
def served(started, tmp_path_factory):
    """One whole service for tests that leave it as it was."""
    with started(tmp_path_factory.mktemp("served") / "data") as served:
        yield served.until_ready()


@pytest.fixture(scope="session")
def postgres():
    """The address of a Postgres server of this test's own."""
    # Debian keeps them off PATH.
    places = os.pathsep.join([os.environ["PATH"], *glob.glob("/usr/lib/postgresql/*/bin")])
    initdb, pg_ctl = (shutil.which(name, path=places) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        pytest.skip("Postgres is not installed: make postgres")
    user = None
    if os.getuid() == 0:  # as whom it does not start
        try:
            user = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("Postgres does not start as root, and there is no user postgres")
    with tempfile.TemporaryDirectory() as folder:  # a short path, as that of a Unix socket has to be
        if user is not None:
            os.chown(folder, user, -1)

        def run(*command):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)

        run(initdb, "-D", f"{folder}/data", "-A", "trust", "-U", "tfswa", "--no-sync")
        options = f"-c listen_addresses='' -k {folder}"
        run(pg_ctl, "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tfswa@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", f"{folder}/data", "-m", "fast", "stop")
