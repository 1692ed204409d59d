"""Stems of finished jobs at an address that fsspec opens: put there before a job is done, read and deleted there."""

from __future__ import annotations

import io
import os
import time
import zipfile

import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem

from tests.service.conftest import STEMS
from tfswa_unet.inference import Separator
from tfswa_unet.service import worker
from tfswa_unet.service.results import Results
from tfswa_unet.service.table import JOBS, new_id
from tfswa_unet.service.worker import Worker


@pytest.fixture(scope="module")
def separator(bundle):
    return Separator.load(bundle, segment_seconds=1, overlap_seconds=0.5, device="cpu")


@pytest.fixture
def address(tmp_path):
    return tmp_path / "elsewhere"


@pytest.fixture
def client(application, address):
    return application(f"results=file://{address}")


@pytest.fixture
def work(client, separator):
    """A worker of the same service, in this process."""
    work = Worker(client.service.settings, "here", separator)
    yield work
    work.table.close()


def upload(client, song, **options):
    return client.post("/v1/jobs", files={"file": (song.name, song.read_bytes())}, data=options).json()["id"]


def there(address, id=""):
    return sorted(str(path.relative_to(address / id)) for path in (address / id).rglob("*") if path.is_file())


def here(client):
    settings = client.service.settings
    return [*settings.jobs.iterdir(), *settings.incoming.iterdir()]


def test_stems_are_put_there_before_the_job_is_done_and_read_from_there(client, work, song, address, monkeypatch):
    states, keep = [], Results.keep
    monkeypatch.setattr(Results, "keep", lambda self, id, files: (keep(self, id, files), note()))
    id = upload(client, song)
    note = lambda: states.append((client.get(f"/v1/jobs/{id}").json()["state"], there(address, id)))  # noqa: E731
    assert work.step()
    files = [f"run-1/{stem}.flac" for stem in sorted(STEMS)]
    assert (states, there(address, id), here(client)) == ([("running", files)], files, [])
    content = (address / id / "run-1/vocals.flac").read_bytes()
    url = f"/v1/jobs/{id}/stems/vocals"
    whole = client.get(url)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    assert whole.headers["content-length"] == str(len(content))
    assert (whole.headers["content-type"], whole.headers["etag"][0]) == ("audio/flac", '"')
    assert "song%20%28vocals%29.flac" in whole.headers["content-disposition"]

    def part(range, **headers):
        answer = client.get(url, headers={"Range": range, **headers})
        return answer.status_code, answer.content

    assert part("bytes=10-29") == (206, content[10:30])
    assert part("bytes=-5") == (206, content[-5:])
    assert part(f"bytes={len(content) - 3}-{10 * len(content)}") == (206, content[-3:])
    assert part("bytes=7-") == (206, content[7:])
    assert part("bytes=7-", **{"If-Range": whole.headers["etag"]}) == (206, content[7:])
    for none in ("bytes=0-1,5-6", "bytes=-", "bytes=x-1", "samples=0-1"):
        assert part(none) == (200, content), none
    assert part("bytes=0-1", **{"If-Range": '"other"'}) == (200, content)
    assert [part(none)[0] for none in (f"bytes={len(content)}-", "bytes=9-3", "bytes=-0")] == [416] * 3
    answer = client.get(url, headers={"Range": "bytes=10-29"})
    assert answer.headers["content-range"] == f"bytes 10-29/{len(content)}"
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{id}/zip").content))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{stem}.flac" for stem in STEMS]
    assert archive.read("vocals.flac") == content
    for _ in range(2):
        mp3 = client.get(url, params={"format": "mp3"})
        assert soundfile.info(io.BytesIO(mp3.content)).duration > 0.49
    assert "run-1/vocals.mp3.mp3" in there(address, id)
    assert client.get(url, params={"format": "x"}).status_code == 422
    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert there(address) == here(client) == []


def test_what_expired_or_was_left_by_killed_processes_is_deleted_there(client, work, song, address):
    first, second = upload(client, song), upload(client, song)
    job = work.table.claim("another", 60)  # which is killed after it put its stems there
    assert job.id == first
    (address / first / "run-1").mkdir(parents=True)
    (address / first / "run-1/vocals.flac").touch()
    work.table.free("another")
    gone, theirs = address / new_id() / "run-1", address / "notes"
    gone.mkdir(parents=True)
    theirs.mkdir()
    (gone / "vocals.flac").touch()
    (theirs / "a.txt").touch()
    assert work.step()
    assert work.step()
    assert {path.split("/")[0] for path in there(address, first)} == {"run-2"}
    with work.table._engine.begin() as connection:
        connection.execute(JOBS.update().where(JOBS.c.id == second).values(expires=time.time() - 1))
    work.sweep()
    assert {path.split("/")[0] for path in there(address)} == {first, "notes"}
    os.remove(address / first / "run-2/vocals.flac")
    answer = client.get(f"/v1/jobs/{first}/stems/vocals")
    assert (answer.status_code, answer.json()) == (404, {"detail": "the stem was deleted"})


def test_a_storage_that_fails_for_a_while_loses_no_job(client, work, song, address, monkeypatch):
    monkeypatch.setattr(worker, "KEEP_SECONDS", (0.0, 0.0))
    faults, put = [OSError("away")] * 2, LocalFileSystem.put_file

    def failing(self, local, path, **_):
        if faults:
            raise faults.pop()
        return put(self, local, path)

    monkeypatch.setattr(LocalFileSystem, "put_file", failing)
    id = upload(client, song)
    assert work.step()
    assert client.get(f"/v1/jobs/{id}").json()["state"] == "done"
    failed = upload(client, song)
    faults += [OSError("away")] * 3
    assert work.step()
    job = client.get(f"/v1/jobs/{failed}").json()
    assert (job["state"], job["error"]) == ("failed", "song.wav: its stems cannot be kept now: try again later")
    assert (there(address, failed), here(client)) == ([], [])

    def silent(self, path, **_):
        raise TimeoutError

    monkeypatch.setattr(LocalFileSystem, "info", silent)
    answer = client.get(f"/v1/jobs/{id}/stems/vocals")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(address) not in answer.text


def test_stems_that_were_made_before_there_was_an_address_are_found(application, separator, song, address):
    before = application()
    work = Worker(before.service.settings, "here", separator)
    id = upload(before, song)
    assert work.step()
    work.table.close()
    after = application(f"results={address}")
    url = f"/v1/jobs/{id}/stems/vocals"
    assert after.get(url).content == before.get(url).content
    assert after.get(url, params={"format": "wav16"}).status_code == 200
    assert after.delete(f"/v1/jobs/{id}").status_code == 204
    assert here(after) == []
