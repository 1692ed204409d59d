"""Services that are killed, or told to end, in mid-job: what was accepted ends done, with the bytes of one left alone.

FUZZ_KILLS says how often each of worker, server and both is killed, every second time with the stems kept elsewhere.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from functools import partial

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


class Place:
    """A data folder and its service, started anew where it was ended."""

    def __init__(self, start, folder, *settings):
        self.jobs, self.kept = folder / "data" / "jobs", folder / "kept"
        self._start, self._entered, self._served = partial(start, folder / "data", *settings), ExitStack(), None

    def service(self):
        if self._served is None or self._served.process.poll() is not None:
            self._served = self._entered.enter_context(self._start())
        return self._served

    def close(self):
        self._entered.close()


@pytest.fixture(scope="module")
def places(started, tmp_path_factory):
    """One that keeps stems in its data folder, and one that keeps them elsewhere."""
    here, away = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("away")
    both = Place(started, here), Place(started, away, f"results=file://{away / 'kept'}")
    yield both
    for place in both:
        place.close()


@pytest.fixture(scope="module")
def undisturbed(places, long):
    """Its stems, and how long they took."""
    served = places[0].service().until_ready()
    began = time.monotonic()
    id = served.upload(long, format="wav32f")
    assert served.until_done(id)["state"] == "done"
    return served.stems(id), time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "server", "both"])
@pytest.mark.parametrize("number", range(KILLS))
def test_a_job_ends_done_with_the_same_bytes(places, undisturbed, long, victim, number):
    stems, seconds = undisturbed
    place, drawn = places[number % 2], random.Random(f"{victim} {number}")
    served = place.service().until_ready()
    id = served.upload(long, format="wav32f")
    time.sleep(drawn.uniform(0, seconds))
    served.kill(worker=victim != "server", server=victim != "worker")
    served = place.service()
    job = served.until_done(id)
    assert (job["state"], job["error"]) == ("done", None)
    assert served.stems(id) == stems
    names = sorted(f"{name}.wav" for name in stems)
    expected = [[], names] if number % 2 else [names, []]
    folders = (place.jobs / id, place.kept / id)
    served.until(lambda: [sorted(path.name for path in each.rglob("*.*")) for each in folders] == expected)


@pytest.mark.slow
def test_sigterm_parks_the_job_which_goes_on_at_the_next_start(places, undisturbed, long):
    served = places[0].service().until_ready()
    id = served.upload(long, format="wav32f")
    served.until(lambda: served.job(id)["state"] == "running")
    began = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(30)
    parked = time.monotonic() - began
    served = places[0].service()
    assert served.until_done(id)["state"] == "done"
    assert served.stems(id) == undisturbed[0]
    print(f"parked in {parked:.1f} s")
