"""The worker is started anew where it dies, and its jobs wait again; the data folder is one service's."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.service.conftest import UNTIL_SECONDS
from tfswa_unet.errors import ConfigError
from tfswa_unet.service import server
from tfswa_unet.service.server import Supervisor, locked, open_table
from tfswa_unet.service.table import Job, new_id
from tfswa_unet.service.worker import Worker

# A worker without a model, which takes half a second for a job.
WORKER = """
import json, os, sys, threading, time
told = json.loads(sys.stdin.readline())
from tfswa_unet.service.settings import Settings
from tfswa_unet.service.table import JobTable
table = JobTable(Settings.from_values(told["settings"]).url)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    job = table.claim(told["worker"], 30)
    if job:
        time.sleep(0.5)
        table.finish(job, "done", 60, None, {})
    time.sleep(0.05)
"""


def until(true):
    deadline = time.monotonic() + UNTIL_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dead_workers_job_is_done_by_the_next_and_an_ended_ones_waits(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "START_WORKER", WORKER)
    told = settings()
    table, lock = open_table(told), locked(told)
    first, second = (Job(new_id(), "a", None, "song", {}, created=time.time()) for _ in range(2))
    with Supervisor(told, table, tmp_path / "none", lock) as supervisor:
        table.submit([first], 9, 9)
        until(lambda: table.get(first.id).state == "running")
        os.kill(supervisor.pid, signal.SIGKILL)
        until(lambda: table.get(first.id).state == "done")
        assert table.get(first.id).attempts == 2
        table.submit([second], 9, 9)
        until(lambda: table.get(second.id).state == "running")
    assert table.get(second.id).state == "queued"
    table.close()
    lock.close()


def test_a_job_whose_decoder_ends_by_the_services_end_waits(settings, monkeypatch):
    told = settings()
    table, job = open_table(told), Job(new_id(), "a", None, "song", {}, created=time.time())
    table.submit([job], 9, 9)
    (told.jobs / job.id).mkdir()
    worker = Worker(told, "here", None)

    def ended(*_):
        threading.Timer(0.05, worker.stop.set).start()
        raise EOFError

    monkeypatch.setattr(worker.decoder, "decode", ended)
    assert worker.step()
    assert (table.get(job.id).state, table.get(job.id).attempts) == ("queued", 0)
    worker.table.close()
    table.close()


def test_two_services_of_one_name_do_not_share_a_folder(settings, monkeypatch):
    monkeypatch.setattr(server, "LOCK_SECONDS", 0.2)
    told = settings()
    open_table(told).close()
    with locked(told):
        with pytest.raises(ConfigError, match="another service named here"):
            locked(told)
        locked(settings(node="there")).close()
    locked(told).close()
