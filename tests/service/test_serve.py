"""A whole service, as `tfswa serve` starts it: a song in, its stems out."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import soundfile

from tests.service.conftest import ROOT, STEMS, sound
from tfswa_unet import audio
from tfswa_unet.inference import Separator


def test_stems_are_those_of_the_separator(served, bundle, song):
    job = served.until_done(served.upload(song, format="wav32f"))
    assert (job["state"], job["progress"], job["error"]) == ("done", 1.0, None)
    assert job["facts"]["seconds"] == 0.5
    separator = Separator.load(bundle, segment_seconds=1, overlap_seconds=0.5, device="cpu")
    expected = separator.separate(song)
    for name, body in served.stems(job["id"]).items():
        stem, rate = soundfile.read(io.BytesIO(body), dtype="float32")
        assert rate == 44_100
        np.testing.assert_allclose(stem.T, expected[name], atol=1e-6)


def test_formats_ranges_tags_and_the_zip(served, song):
    id = served.upload(song, two_stems="vocals")
    assert list(served.until_done(id)["stems"]) == ["vocals", "no_vocals"]
    url = f"/v1/jobs/{id}/stems/vocals"
    whole = served.client.get(url)
    assert whole.headers["content-type"] == "audio/flac"
    assert "song%20%28vocals%29.flac" in whole.headers["content-disposition"]
    part = served.client.get(url, headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    stem = soundfile.SoundFile(io.BytesIO(whole.content))
    assert (stem.title, len(stem)) == ("Noise", 22_050)
    mp3 = served.client.get(url, params={"format": "mp3"})
    assert mp3.headers["content-type"] == "audio/mpeg"
    assert soundfile.info(io.BytesIO(mp3.content)).duration > 0.49
    archive = zipfile.ZipFile(io.BytesIO(served.client.get(f"/v1/jobs/{id}/zip").content))
    assert archive.testzip() is None
    assert archive.read("vocals.flac") == whole.content
    assert sorted(archive.namelist()) == ["no_vocals.flac", "vocals.flac"]


def test_a_batch_and_the_events_of_a_job(served, song, tmp_path):
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no music at all" * 99)
    files = [("files", (path.name, path.read_bytes())) for path in (song, bad, song)]
    batch = served.client.post("/v1/batches", files=files).json()
    last = batch["jobs"][-1]["id"]
    with served.client.stream("GET", f"/v1/jobs/{last}/events") as events:
        text = events.read().decode()
    told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert (told[-1]["state"], told[-1]["id"]) == ("done", last)
    assert set(re.findall("event: (.*)", text)) == {"job"}
    batch = served.client.get(f"/v1/batches/{batch['id']}").json()
    assert batch["states"] == {"queued": 0, "running": 0, "done": 2, "failed": 1}
    assert batch["done"]
    (failed,) = (job for job in batch["jobs"] if job["state"] == "failed")
    assert failed["error"].startswith("bad.mp3: ")
    assert served.client.delete(f"/v1/batches/{batch['id']}").status_code == 204
    assert served.client.get(f"/v1/jobs/{last}").status_code == 404


def test_a_running_job_is_cancelled_and_leaves_nothing(served, tmp_path, song):
    path = tmp_path / "long.wav"
    audio.write(path, sound(120), 44_100)
    id = served.upload(path)
    served.until(lambda: served.job(id)["progress"] > 0.05)
    served.client.delete(f"/v1/jobs/{id}").raise_for_status()
    following = served.upload(song)
    assert served.until_done(following)["state"] == "done"
    assert not (served.log.parent / "data" / "jobs" / id).exists()


def test_figures_are_those_of_what_was_done(served, song):
    def figures():
        return dict(re.findall(r"^(tfswa_[\w{}=\"]+) ([\d.e+-]+)$", served.client.get("/metrics").text, re.MULTILINE))

    before = figures()
    for _ in range(2):
        served.until_done(served.upload(song))
    after = figures()
    grown = {name: float(value) - float(before[name]) for name, value in after.items() if name in before}
    assert grown['tfswa_jobs_ended_total{end="done"}'] == 2
    assert grown['tfswa_jobs_ended_total{end="failed"}'] == 0
    assert round(grown["tfswa_audio_seconds_total"], 3) == 1.0
    work = grown["tfswa_work_seconds_total"]
    assert work > 0
    assert after['tfswa_jobs{state="queued"}'] == "0.0"
    assert after["tfswa_ready"] == "1.0"


def test_the_model_is_described(served):
    (model,) = served.client.get("/v1/models").json()
    assert (model["name"], tuple(model["stems"]), model["rate"]) == ("small", STEMS, 44_100)
    assert "/v1/jobs/{id}/stems/{name}" in served.client.get("/openapi.json").json()["paths"]


def test_the_commands_of_the_readme(served, song, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    readme = (ROOT / "README.md").read_text().partition("### Serve")[2]
    block = readme.partition("```sh\n")[2].partition("```")[0]
    start, upload, take = (line.split("  #")[0] for line in block.splitlines())
    assert start == "tfswa serve &"  # as the fixture does, with a small model and another port
    shutil.copy(song, tmp_path / "song.mp3")

    def run(command):
        command = command.replace("http://127.0.0.1:8000", served.url)
        return subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    id = json.loads(run(upload))["id"]
    served.until_done(id)
    run(take.replace("/ID/", f"/{id}/"))
    (stem,) = tmp_path.glob("*.flac")
    assert audio.probe(stem).length == 22_050
