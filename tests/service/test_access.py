"""Tokens, hosts, origins, limits: who is let in, and who sees what."""

from __future__ import annotations

import pytest
from starlette.websockets import WebSocketDisconnect

from tests.service.conftest import URL
from tfswa_unet.cli import main
from tfswa_unet.errors import ConfigError
from tfswa_unet.service.access import Rate, check_open, digest, make_token
from tfswa_unet.service.server import open_table

FILE = {"file": ("song.wav", b"RIFF")}


@pytest.fixture
def tokens(settings):
    table = open_table(settings())
    made = [make_token(table, name) for name in ("one", "two")]
    table.close()
    return made


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_job_is_only_its_tokens(application, tokens):
    client = application()
    mine, theirs = map(bearer, tokens)
    job = client.post("/v1/jobs", files=FILE, headers=mine).json()
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/stems/vocals"), ("GET", "/zip")):
        answer = client.request(method, f"/v1/jobs/{job['id']}{path}", headers=theirs)
        assert (answer.status_code, answer.json()) == (404, {"detail": "there is no such job"})
    assert client.get("/v1/jobs", headers=theirs).json() == []
    assert [each["id"] for each in client.get("/v1/jobs", headers=mine).json()] == [job["id"]]
    assert client.delete(f"/v1/jobs/{job['id']}", headers=mine).status_code == 204
    assert list(client.service.settings.jobs.iterdir()) == []


def test_without_a_token_nothing_is_told_but_the_page_and_the_probes(application, tokens):
    client = application()
    for path in ("/v1/jobs", "/metrics", "/v1/models", f"/v1/jobs/{'0' * 32}"):
        for headers in ({}, bearer("wrong"), {"Cookie": "tfswa_token=wrong"}, {"Authorization": f"Basic {tokens[0]}"}):
            assert client.get(path, headers=headers).status_code == 401
    assert client.post("/v1/jobs", files=FILE).status_code == 401
    assert client.get("/").status_code == client.get("/healthz").status_code == 200
    assert client.post("/v1/session", json={"token": "wrong"}).status_code == 401
    kept = client.post("/v1/session", json={"token": tokens[0]})
    assert "HttpOnly" in kept.headers["set-cookie"]
    assert "SameSite=strict" in kept.headers["set-cookie"]
    assert client.get("/v1/jobs").json() == []


def test_tokens_are_kept_as_hashes_and_can_be_removed(application, settings, tokens, capsys):
    folder = settings().folder
    kept = b"".join(path.read_bytes() for path in folder.glob("jobs.sqlite*"))
    assert digest(tokens[0]).encode() in kept
    assert tokens[0].encode() not in kept
    assert main(["serve", "--data", str(folder), "--add-token", "three"]) == 0
    token = capsys.readouterr().out.strip()
    assert application().get("/v1/jobs", headers=bearer(token)).status_code == 200
    assert main(["serve", "--data", str(folder), "--add-token", "three"]) == 1
    assert main(["serve", "--data", str(folder), "--remove-token", "three"]) == 0
    assert application().get("/v1/jobs", headers=bearer(token)).status_code == 401


def test_others_are_not_served_without_a_token_unless_told(settings):
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ConfigError, match="--add-token"):
            check_open(settings(host=host), tokens=0)
        check_open(settings(host=host), tokens=1)
        check_open(settings(host=host, open=True), tokens=0)
    for host in ("127.0.0.1", "localhost", "::1"):
        check_open(settings(host=host), tokens=0)


def test_pages_of_other_sites_are_refused(application):
    client = application("names=[stems.example.org]")
    assert client.get("/v1/jobs", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/v1/jobs", headers={"Host": "stems.example.org"}).status_code == 200
    foreign = {"Origin": "https://evil.example"}
    assert client.post("/v1/jobs", files=FILE, headers=foreign).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("ws://127.0.0.1/v1/stream", headers=foreign),
    ):
        pass
    assert closed.value.code == 1008
    answer = client.post("/v1/jobs", files=FILE, headers={"Origin": URL})
    assert answer.status_code == 202
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_more_than_the_queue_or_the_rate_holds_is_answered_with_when_to_come_again(application):
    client = application("limits.queued=3", "limits.jobs_per_token=2", "limits.requests_per_minute=6")
    answers = [client.post("/v1/jobs", files=FILE) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429, 429, 429, 429]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers[2:])
    assert "requests a minute" in answers[-1].json()["detail"]
    assert len(list(client.service.settings.jobs.iterdir())) == 2
    assert list(client.service.settings.incoming.iterdir()) == []


def test_a_rate_fills_again_evenly(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tfswa_unet.service.access.time.monotonic", lambda: now[0])
    rate = Rate(60)
    assert [rate.wait("a") for _ in range(60)] == [0.0] * 60
    assert rate.wait("a") == pytest.approx(1.0)
    assert rate.wait("b") == 0.0
    now[0] = 1.0
    assert (rate.wait("a"), rate.wait("a")) == (0.0, pytest.approx(1.0))


def test_no_job_is_taken_before_there_is_a_model(application):
    client = application()
    client.service.model = None
    answer = client.post("/v1/jobs", files=FILE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert client.get("/readyz").status_code == 503
