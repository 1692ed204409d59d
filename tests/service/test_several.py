"""Several services over one data folder and Postgres: one queue, and a killed one's job is done by another."""

from __future__ import annotations

import pytest

from tests.service.conftest import sound
from tfswa_unet import audio
from tfswa_unet.service.table import JobTable
from tfswa_unet.service.worker import DECODED_SHARE


@pytest.mark.slow
def test_a_killed_services_job_is_done_by_the_other_with_the_same_bytes(started, postgres, tmp_path):
    song, data, names = tmp_path / "song.wav", tmp_path / "data", ("one", "two")
    audio.write(song, sound(60), 44_100, "wav16")  # long enough that it is still under way when it is seen to be
    table = JobTable(postgres)
    settings = (f"database='{postgres}'", "lease_seconds=2")
    with started(data, *settings, node="one") as one, started(data, *settings, node="two") as two:
        services = dict(zip(names, (one.until_ready(), two.until_ready()), strict=True))
        id = one.upload(song, format="wav32f")
        assert two.job(id)["name"] == "song.wav"
        one.until(lambda: table.get(id).progress > DECODED_SHARE)
        killed = table.get(id).worker
        other = services[next(name for name in names if name != killed)]
        services[killed].kill(worker=True, server=True)
        assert table.get(id).state == "running"
        job = other.until_done(id)
        assert (job["state"], job["error"], table.get(id).attempts) == ("done", None, 2)
        alone = other.upload(song, format="wav32f")
        assert other.until_done(alone)["state"] == "done"
        assert other.stems(id) == other.stems(alone)
        other.until(lambda: [path.name for path in (data / "jobs" / id).iterdir()] == ["run-2"])
        for each in (id, alone):
            other.client.delete(f"/v1/jobs/{each}").raise_for_status()
        assert list((data / "jobs").iterdir()) == list((data / "incoming").iterdir()) == []
    table.close()
