"""What clients may do that they should not: never a status of 500, a file elsewhere, or another's data."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from contextlib import suppress

import numpy as np
import pytest

from tests.fuzz.test_files import damage, whole  # noqa: F401
from tests.service.conftest import sound
from tfswa_unet import audio
from tfswa_unet.errors import AudioError
from tfswa_unet.inference.stream import Cancelled
from tfswa_unet.service.decoding import Decoder
from tfswa_unet.service.uploads import shown_name

NAMES = ("../../etc/passwd", "..\\..\\x.wav", "/etc/cron.d/x", "a\0b.wav", "\n\r\x1b[31m", ".", "..", "ü" * 500, "")


def test_names_never_become_paths(application):
    client = application()
    outside = {path for path in client.service.settings.folder.parent.rglob("*")}
    for name in NAMES:
        answer = client.post("/v1/jobs", files={"file": (name or "x", b"x")})
        assert answer.status_code in (202, 400), name
    made = {path for path in client.service.settings.folder.parent.rglob("*")} - outside
    assert all(client.service.settings.jobs in path.parents for path in made if "sqlite" not in path.name), made
    assert {path.name for path in made if path.is_file() and "sqlite" not in path.name} == {"upload"}
    shown = [shown_name(name) for name in NAMES]
    assert shown[:5] == ["passwd", "x.wav", "x", "ab.wav", "[31m"]
    assert all(len(name) <= 200 and "/" not in name for name in shown)


def test_what_is_no_id_no_stem_and_no_format_is_not_found(application):
    client = application()
    id = client.post("/v1/jobs", files={"file": ("a", b"x")}).json()["id"]
    for path in ("..", "%2e%2e%2fjobs.sqlite", "A" * 32, "0" * 31, f"{id}/stems/..%2f..%2fupload", f"{id}/upload"):
        assert client.get(f"/v1/jobs/{path}").status_code in (404, 409, 422), path
    job = client.service.table.claim("w", 60)
    facts = {"files": {"vocals": "run-1/vocals.wav"}}
    client.service.table.finish(job, "done", 60, None, facts)
    run = client.service.settings.jobs / id / "run-1"
    run.mkdir()
    audio.write(run / "vocals.wav", sound(0.1), 44_100)
    for stem in ("..%2fupload", "upload", "run-1", "%00", "vocals.wav"):
        assert client.get(f"/v1/jobs/{id}/stems/{stem}").status_code == 404
    for format in ("../x", "exe", "", "a" * 999):
        assert client.get(f"/v1/jobs/{id}/stems/vocals", params={"format": format}).status_code == 422
    assert client.get(f"/v1/jobs/{id}/stems/vocals", headers={"Range": "bytes=9999999-"}).status_code == 416
    assert client.get(f"/v1/jobs/{id}/stems/vocals?format=flac16").status_code == 200


def test_options_that_cannot_work_are_refused_with_a_sentence(application):
    client = application()
    for data in (
        {"format": "exe"},
        {"stems": "piano"},
        {"stems": "vocals", "two_stems": "vocals"},
        {"model": "/etc/passwd"},
        {"template": "../{stem}"},
        {"clip": "loud"},
        {"tags": "perhaps"},
        {"residual": "x"},
    ):
        answer = client.post("/v1/jobs", files={"file": ("a.wav", b"x")}, data=data)
        assert answer.status_code == 422, data
        assert isinstance(answer.json()["detail"], str)
    assert client.post("/v1/jobs", data={"format": "mp3"}).status_code in (400, 422)
    assert client.post("/v1/jobs", json={"file": "x"}).status_code == 400
    assert client.post("/v1/jobs", files={"file": ("a", b"x")}, data={"stems": "v" * 9999}).status_code == 400
    many = [("file", (str(k), b"x")) for k in range(3)]
    assert client.post("/v1/jobs", files=many).status_code == 400
    deep = b'{"token":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert client.post("/v1/session", content=deep, headers={"Content-Type": "application/json"}).status_code < 500
    assert client.post("/v1/session", json={"token": "x" * 10_000}).status_code == 422
    assert client.post("/v1/session", json={"token": "x" * 10_000_000}).status_code == 413
    unannounced = iter([b"x" * 10_000] * 100)
    assert client.post("/v1/session", content=unannounced).status_code == 400
    assert list(client.service.settings.jobs.iterdir()) == list(client.service.settings.incoming.iterdir()) == []


def raw(served, head, body=b""):
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(f"{head}\r\nHost: {host}:{port}\r\n".encode() + body)
    return connection


def answer(connection):
    """The status line; nothing where a server that reads no more has reset the connection before it was read."""
    try:
        return connection.recv(4096).partition(b"\r\n")[0]
    except ConnectionResetError:
        return b""


def test_uploads_that_lie_stand_still_or_are_cut(started, tmp_path):
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"x" * 3_000_000
    limits = ("limits.megabytes=4", "limits.idle_seconds=1", "limits.upload_seconds=3")
    with started(tmp_path / "data", *limits) as served:
        served.until_ready()
        with raw(served, "POST /v1/jobs HTTP/1.1", form + b"Content-Length: 10000000000\r\n\r\n") as announced:
            assert answer(announced) in (
                b"",
                b"HTTP/1.1 413 Request Entity Too Large",
                b"HTTP/1.1 413 Content Too Large",
            )
        with raw(served, "POST /v1/jobs HTTP/1.1", form + b"Transfer-Encoding: chunked\r\n\r\n") as endless:
            chunk = b"%x\r\n%s\r\n" % (len(part), part)
            with suppress(ConnectionError):
                endless.sendall(chunk)
                endless.sendall(chunk)
            assert answer(endless)[:12] in (b"", b"HTTP/1.1 413")
        with raw(served, "POST /v1/jobs HTTP/1.1", form + b"Content-Length: 3500000\r\n\r\n" + part) as still:
            assert answer(still)[:12] in (b"", b"HTTP/1.1 408")
        with raw(served, "POST /v1/jobs HTTP/1.1", form + b"Content-Length: 3500000\r\n\r\n" + part) as cut:
            cut.shutdown(socket.SHUT_RDWR)
        with raw(served, "POST /v1/jobs HTTP/1.1", form + b"Content-Length: 900\r\n\r\n--b\r\n") as slow:
            began = time.monotonic()
            slow.settimeout(30)
            while time.monotonic() - began < 10:
                try:
                    slow.sendall(b"x")
                    slow.settimeout(0.4)
                    if slow.recv(4096):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            assert time.monotonic() - began < 10
        assert served.client.get("/healthz").status_code == 200
        folder = tmp_path / "data"
        assert list((folder / "jobs").iterdir()) == list((folder / "incoming").iterdir()) == []
        assert " 500 " not in served.log.read_text()
        assert "Traceback" not in served.log.read_text()


@pytest.fixture(scope="module")
def limits():
    from tfswa_unet.config import compose_values
    from tfswa_unet.service.settings import Settings

    settings = ["limits.seconds=5", "limits.decode_seconds=3", "limits.decode_megabytes=300"]
    return Settings.from_values(compose_values("serve", settings)).limits


def test_bombs_are_refused_by_the_decoder(limits, tmp_path):
    decoder, target = Decoder(limits), tmp_path / "out.wav"
    silence = tmp_path / "bomb.flac"  # a minute in a few kilobytes
    audio.write(silence, np.zeros((2, 60 * 44_100), np.float32), 44_100, "flac16")
    wide = tmp_path / "wide.wav"
    audio.write(wide, np.zeros((8, 100), np.float32), 44_100)
    header = tmp_path / "header.wav"
    header.write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44_100, 176_400, 4, 16))
    zipped = tmp_path / "zip"
    zipped.write_bytes(gzip.compress(bytes(10_000_000)))
    broken = "is not an audio file, or is too damaged to tell"
    for path, said in ((silence, "longer than 5 s"), (wide, "8 channels"), (header, broken), (zipped, broken)):
        with pytest.raises(AudioError, match=said) as caught:
            decoder.decode(path, target, "song.mp3", lambda: False)
        assert str(caught.value).startswith("song.mp3")
        assert str(tmp_path) not in str(caught.value)
    assert not target.exists()
    assert list(tmp_path.glob(".*")) == []
    with pytest.raises(Cancelled):
        decoder.decode(wide, target, "song.mp3", lambda: True)


def test_damaged_audio_gives_a_sound_wav_or_a_sentence(limits, tmp_path, whole):  # noqa: F811
    decoder = Decoder(limits)
    for number in range(8):
        suffix, content = damage(np.random.default_rng(number), whole)
        path = tmp_path / "upload"
        path.write_bytes(content)
        target = tmp_path / f"{number}.wav"
        said = None
        try:
            decoded = decoder.decode(path, target, f"song{suffix}", lambda: False)
        except AudioError as error:
            said = str(error)
        if said is None:
            assert audio.probe(target).length == decoded.length
        else:
            assert said.startswith(f"song{suffix}")
            assert not target.exists()


def test_what_a_file_is_called_is_shown_as_it_is(application):
    client = application()
    name = '<img src=x onerror=alert(1)>"&.wav'
    job = client.post("/v1/jobs", files={"file": (name.replace('"', ""), b"x")}).json()
    assert job["name"] == name.replace('"', "")
    page = client.get("/")
    assert "onerror" not in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
