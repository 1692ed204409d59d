"""Streams through a WebSocket: what Separator.stream gives, and clean ends."""

from __future__ import annotations

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.service.conftest import URL, sound
from tfswa_unet.inference import Separator
from tfswa_unet.service.app import build_app
from tfswa_unet.service.jobs import Service
from tfswa_unet.service.server import open_table
from tfswa_unet.service.streams import StreamServer, model_facts


@pytest.fixture(scope="module")
def separator(bundle):
    return Separator.load(bundle, device="cpu", segment_seconds=1, overlap_seconds=0.25, precision="fp32")


@pytest.fixture
def client(settings, separator):
    """A client of an application whose worker's end is a thread here."""
    told = settings("limits.idle_seconds=2", "limits.streams=1", "limits.stream_seconds=5")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "worker")
        service = Service(told, open_table(told))
        with (
            StreamServer(separator, path, told.limits.stream_seconds),
            TestClient(build_app(service, path, nullcontext()), base_url=URL) as client,
        ):
            assert model_facts(path)["stems"] == list(separator.stems)
            yield client
        assert model_facts(path) is None
        service.table.close()


def received(stream, stems, channels, kind):
    """All stems until the end, each (c, t), and what the end says."""
    parts = []
    while "text" not in (message := stream.receive()) or message["text"] is None:
        parts.append(np.frombuffer(message["bytes"], kind).reshape(stems, -1, channels))
    return np.concatenate(parts, axis=1).transpose(0, 2, 1), json.loads(message["text"])


@pytest.mark.parametrize(("rate", "channels", "stems"), [(44_100, 2, None), (48_000, 1, "drums,vocals")])
def test_the_stems_are_those_of_separator_stream(client, separator, rate, channels, stems):
    mixture = sound(2.3, channels, rate)
    with separator.stream(rate, channels, stems=stems and stems.split(",")) as stream:
        latency = stream.latency
        blocks = [stream.push(mixture[:, i : i + 7_000]) for i in range(0, mixture.shape[1], 7_000)] + [stream.finish()]
    expected = np.stack([np.concatenate([block[name] for block in blocks], 1) for name in stream.names])
    asked = f"rate={rate}&channels={channels}" + (f"&stems={stems}" if stems else "")
    with client.websocket_connect(f"ws://127.0.0.1/v1/stream?{asked}") as stream:
        hello = stream.receive_json()
        assert hello["latency"] == pytest.approx(latency, abs=1e-3)
        assert len(hello["stems"]) == len(expected)
        for start in range(0, mixture.shape[1], 7_000):
            stream.send_bytes(np.ascontiguousarray(mixture[:, start : start + 7_000].T).tobytes())
        stream.send_text("end")
        given, end = received(stream, len(expected), channels, "<f4")
    np.testing.assert_array_equal(given, expected)
    assert end == {"end": True, "samples": mixture.shape[1]}


def test_sixteen_bits_in_and_out(client, separator):
    mixture = (sound(1.2) * 32_768).round().astype("<i2")
    expected = separator.separate(mixture.astype(np.float32) / 32_768, 44_100)
    with client.websocket_connect("ws://127.0.0.1/v1/stream?format=s16le") as stream:
        stream.receive_json()
        stream.send_bytes(np.ascontiguousarray(mixture.T).tobytes())
        stream.send_text("end")
        given, _ = received(stream, 4, 2, "<i2")
    for stem, samples in zip(expected.values(), given, strict=True):
        assert np.abs(stem * 32_768 - samples).max() <= 1


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([b"\xff" * 800], "NaN or infinite"),
        ([b"abc"], "no whole frames"),
        (["stop"], "not end"),
        ([], "nothing came"),
        ([bytes(800_000)] * 4, "longer than 5 s"),
    ],
)
def test_what_cannot_be_separated_ends_a_stream_with_a_sentence(client, messages, said):
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
        stream.receive_json()
        for message in messages:
            stream.send_bytes(message) if isinstance(message, bytes) else stream.send_text(message)
        while (message := stream.receive()).get("text") is None:
            assert message["type"] != "websocket.close"
        assert said in json.loads(message["text"])["error"]
        assert stream.receive()["code"] == 1008


def test_ten_thousand_frames_of_noise_harm_nobody(client):
    rng = np.random.default_rng(0)
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
        stream.receive_json()
        for _ in range(10_000):
            stream.send_bytes(rng.bytes(40))
        while stream.receive()["type"] != "websocket.close":
            pass
    assert client.get("/healthz").status_code == 200


def test_more_streams_than_are_served_are_sent_away_and_bad_settings_too(client):
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as first:
        first.receive_json()
        with client.websocket_connect("ws://127.0.0.1/v1/stream") as second:
            assert "1 streams are open" in second.receive_json()["error"]
            assert second.receive()["code"] == 1013
    for asked in ("rate=0", "channels=99", "format=mp3", "rate=x"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"ws://127.0.0.1/v1/stream?{asked}"):
            pass
    with client.websocket_connect("ws://127.0.0.1/v1/stream?stems=piano") as stream:
        assert "no stem 'piano'" in stream.receive_json()["error"]
        assert stream.receive()["code"] == 1008
