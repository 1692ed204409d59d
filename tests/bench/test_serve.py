"""A service under load, small; and what the benchmark says of services that do not do what they should."""

import json
from http.client import HTTPMessage

import pytest

from tfswa_unet.bench.serve import JOBS, Answer, Load, _disagreements, measure
from tfswa_unet.bench.settings import ServeSetting
from tfswa_unet.errors import RunError


def test_a_service_is_measured_while_it_works(bundle):
    setting = ServeSetting(model=bundle, device="cpu", threads=1, jobs=8, clients=4, queued=1, seconds=1.0)
    record = measure(setting)
    assert (record["status"], record["reason"]) == ("measured", None)
    assert (record["model"], record["done"], record["jobs"]) == ("small", 8, 8)
    latency = record["latency_ms"]
    assert latency["accepted posts"]["count"] == latency["deletions"]["count"] == latency["stems"]["count"] == 8
    assert latency["refused posts"]["count"] > 0
    assert all(0 < each["p50"] <= each["p95"] <= each["most"] for each in latency.values())
    assert record["server_memory"]["mb_after_4_jobs"] > 50
    assert record["worker_memory"]["mb_at_the_end"] > 100
    assert 0 < record["real_time_factor"] < record["wall_seconds"] / 8


class Scripted:
    """A service that gives prepared answers, in turn, by method and path; the last one again and again."""

    def __init__(self, **answers):
        self.answers = {name: list(each) for name, each in answers.items()}

    def ask(self, method, path, body=None):
        name = method if path == JOBS or method != "GET" else "STEM" if "stems" in path else "GET"
        left = self.answers[name]
        status, content, headers = left.pop(0) if len(left) > 1 else left[0]
        message = HTTPMessage()
        for key, value in headers.items():
            message[key] = value
        return Answer(status, message, json.dumps(content).encode())

    def memory(self):
        return {"server": 100.0, "worker": 500.0}


RUNNING, DONE = {"state": "running"}, {"state": "done", "stems": {"drums": "/v1/jobs/1/stems/drums"}}


@pytest.fixture
def loaded(monkeypatch):
    """Put a load on a scripted service; gives it afterwards."""
    monkeypatch.setattr("tfswa_unet.bench.serve.POLL_SECONDS", 0.001)

    def run(jobs=1, **answers):
        usual = {
            "POST": [(202, {"id": "1"}, {})],
            "GET": [(200, RUNNING, {}), (200, DONE, {})],
            "STEM": [(200, "sound", {})],
            "DELETE": [(204, None, {})],
        }
        load = Load(Scripted(**{**usual, **answers}), ServeSetting(jobs=jobs, clients=1, seconds=2.0), b"form")
        load.run()
        return load

    return run


def test_clients_come_back_and_nothing_is_amiss(loaded):
    refused = (429, {"detail": "full"}, {"Retry-After": "0.01"})
    load = loaded(jobs=2, POST=[refused, refused, (202, {"id": "1"}, {})])
    assert not load.faults
    counts = {kind: len(seconds) for kind, seconds in load.seconds.items()}
    assert counts == {"refused posts": 2, "accepted posts": 2, "status reads": 3, "stems": 2, "deletions": 2}
    figures = {
        'tfswa_jobs_ended_total{end="done"}': 2.0,
        "tfswa_audio_seconds_total": 4.0,
        'tfswa_request_seconds_count{method="POST",route="/v1/jobs"}': 4.0,
        'tfswa_request_seconds_count{method="GET",route="/v1/jobs/{id}"}': 3.0,
    }
    assert list(_disagreements(load, figures)) == []
    for name in figures:
        assert [each[0] for each in _disagreements(load, {**figures, name: 9.0})] == [name]
    assert [each[0] for each in _disagreements(load, {**figures, 'tfswa_jobs{state="queued"}': 1.0})] == [
        'tfswa_jobs{state="queued"}'
    ]


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ({"POST": [(500, {"detail": "a defect"}, {})]}, "a post was answered with 500"),
        ({"POST": [(429, {}, {}), (202, {"id": "1"}, {})]}, "429 came without Retry-After"),
        ({"GET": [(200, {"state": "failed", "error": "no sound"}, {})]}, "a job ended as failed: no sound"),
        ({"STEM": [(404, "", {})]}, "GET of stems was answered with 404"),
        ({"DELETE": [(500, "", {})]}, "DELETE of deletions was answered with 500"),
    ],
)
def test_what_goes_wrong_is_named(loaded, answers, fault):
    load = loaded(**answers)
    assert [text.startswith(fault) for text in load.faults] == [True], load.faults


def test_a_service_that_does_not_begin_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match=r"the service did not begin: .*none\.safetensors: no such"):
        measure(ServeSetting(model=str(tmp_path / "none.safetensors"), jobs=1, clients=1, seconds=1.0))
