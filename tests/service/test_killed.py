"""Services that are killed, or told to end, in mid-job: what was accepted ends done, with the bytes of one left alone.

FUZZ_KILLS says how often each of worker, server and both is killed, every second time with the stems kept elsewhere.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.service.conftest import sound
from tfswa_unet import audio

KILLS = int(os.environ.get("FUZZ_KILLS", "1"))
SECONDS = 8


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A song that takes the small model a second or more."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    audio.write(path, sound(SECONDS), 44_100, "wav16")
    return path


@pytest.fixture(scope="module")
def undisturbed(served, long):
    """Its stems, and how long they took."""
    began = time.monotonic()
    id = served.upload(long, format="wav32f")
    assert served.until_done(id)["state"] == "done"
    return served.stems(id), time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "server", "both"])
@pytest.mark.parametrize("number", range(KILLS))
def test_a_job_ends_done_with_the_same_bytes(started, undisturbed, long, tmp_path, victim, number):
    stems, seconds = undisturbed
    data, kept, drawn = tmp_path / "data", tmp_path / "kept", random.Random(f"{victim} {number}")
    killed = {"worker": victim != "server", "server": victim != "worker"}
    settings = [f"results=file://{kept}"] if number % 2 else []

    def check(served):
        job = served.until_done(id)
        assert (job["state"], job["error"]) == ("done", None)
        assert served.stems(id) == stems
        names = sorted(f"{name}.wav" for name in stems)
        expected = [[], names] if settings else [names, []]
        folders = (data / "jobs" / id, kept / id)
        served.until(lambda: [sorted(path.name for path in each.rglob("*.*")) for each in folders] == expected)

    with started(data, *settings) as served:
        served.until_ready()
        id = served.upload(long, format="wav32f")
        time.sleep(drawn.uniform(0, seconds))
        served.kill(**killed)
        if victim == "worker":
            check(served)
            return
    with started(data, *settings) as served:
        check(served)


@pytest.mark.slow
def test_sigterm_parks_the_job_which_goes_on_at_the_next_start(started, undisturbed, long, tmp_path):
    with started(tmp_path / "data") as served:
        served.until_ready()
        id = served.upload(long, format="wav32f")
        served.until(lambda: served.job(id)["state"] == "running")
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
        parked = time.monotonic() - began
    with started(tmp_path / "data") as served:
        job = served.until_done(id)
        assert job["state"] == "done"
        assert served.stems(id) == undisturbed[0]
    print(f"parked in {parked:.1f} s")
