"""The table of jobs, in SQLite and, where it can be started, in Postgres."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfswa_unet.service.table import METADATA, Job, JobTable, new_id

MOST = 100


@pytest.fixture(params=["sqlite", "postgres"])
def table(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    table = JobTable(url)
    yield table
    for job in table.listed():
        table.delete(job.id, job.owner)
    table.close()


def jobs(count, owner="a"):
    return [Job(new_id(), owner, None, f"song {k}", {"format": "mp3"}, created=float(k)) for k in range(count)]


def test_the_oldest_is_claimed_once_by_whoever_comes_first(table):
    made = jobs(20)
    assert table.submit(made, MOST, MOST)
    assert table.before(made[3]) == 3
    claimed, workers = [], [f"worker {k}" for k in range(4)]

    def work(name):
        while (job := table.claim(name, 60)) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=work, args=(name,)) for name in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(job.id for job in made)
    assert table.claim("late", 60) is None


def test_processes_that_start_together_make_one_table(table):
    METADATA.drop_all(table._engine)
    url, start = table._engine.url.render_as_string(hide_password=False), threading.Barrier(8)

    def open_table():
        start.wait()
        JobTable(url).close()

    with ThreadPoolExecutor(8) as pool:
        opened = [pool.submit(open_table) for _ in range(8)]
    assert [each.exception() for each in opened] == [None] * 8
    assert table.totals()["done"] == 0
    assert table.submit(jobs(1), MOST, MOST)


def test_a_queue_takes_all_of_a_batch_or_nothing(table):
    assert table.submit(jobs(3), queued=5, of_owner=MOST)
    assert not table.submit(jobs(3), queued=5, of_owner=MOST)
    assert not table.submit(jobs(3, "b"), queued=MOST, of_owner=2)
    assert table.submit(jobs(2, "b"), queued=5, of_owner=2)
    assert len(table.listed()) == 5
    assert not table.room(1, "c", queued=5, of_owner=MOST)


def test_a_lease_that_ran_out_passes_the_job_on_and_the_first_worker_has_no_say_any_more(table):
    table.submit(jobs(1), MOST, MOST)
    first = table.claim("first", 0.01)
    time.sleep(0.05)
    second = table.claim("second", 60)
    assert (second.id, second.worker, second.attempts) == (first.id, "second", 2)
    assert not table.renew(first, 0.5, 60)
    assert not table.finish(first, "done", 60, None, {})
    assert table.renew(second, 0.5, 60)
    before = table.totals()
    assert table.finish(second, "done", 60, None, {"seconds": 3.0, "elapsed": 1.5, "files": {"vocals": "run-2/v"}})
    assert not table.finish(second, "failed", 60, "again", {})
    after = table.totals()
    grown = {name: after[name] - before[name] for name in after}
    assert grown == {"done": 1, "failed": 0, "cancelled": 0, "audio_seconds": 3.0, "work_seconds": 1.5}
    assert table.get(first.id).facts["files"] == {"vocals": "run-2/v"}


def test_jobs_of_a_dead_worker_wait_again_and_parked_ones_lose_no_attempt(table):
    (job,) = jobs(1)
    table.submit([job], MOST, MOST)
    assert table.park(table.claim("w", 60))
    assert table.get(job.id).attempts == 0
    table.claim("w", 60)
    assert (table.free("other"), table.free("w")) == (0, 1)
    assert (table.get(job.id).state, table.get(job.id).attempts) == ("queued", 1)


def test_jobs_expire_and_are_only_their_owners(table):
    (mine, later), theirs = jobs(2), jobs(1, "b")[0]
    table.submit([mine], MOST, MOST)
    table.submit([theirs], MOST, MOST)
    assert table.get(theirs.id, "a") is None
    assert not table.delete(theirs.id, "a")
    assert [job.id for job in table.of("a")] == [mine.id]
    table.submit([later], MOST, MOST)
    expired = table.claim("w", 60)
    table.finish(expired, "failed", -1, "late", {})
    assert table.expire() == [expired.id]
    assert table.ids() == {mine.id, later.id, theirs.id} - {expired.id}
