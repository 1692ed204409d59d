"""Songs behind URLs: fetched from hosts that the operator lists, and from nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tfswa_unet.errors import ConfigError
from tfswa_unet.service import fetching
from tfswa_unet.service.hosts import Hosts, Refused, is_public

SONG = bytes(range(256)) * 1000


class Site(BaseHTTPRequestHandler):
    """What a path's first part says: song, bare (no length announced), away?URL, missing, cut, drip, huge, endless."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.path, self.headers["Host"]))
        kind = path.split("/")[1]
        status = {"away": 302, "loop": 302, "missing": 404}.get(kind, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", query or self.path)
        if kind in ("song", "cut", "huge"):
            self.send_header("Content-Length", str({"song": 1, "cut": 2, "huge": 1000}[kind] * len(SONG)))
        self.end_headers()
        if kind in ("song", "bare", "cut"):
            self.wfile.write(SONG)
        count = {"drip": 50, "endless": 100}.get(kind, 0)
        try:
            for _ in range(count):
                self.wfile.write(b"x" if kind == "drip" else SONG)
                time.sleep(0.1 if kind == "drip" else 0)
            if kind == "still":
                self.server.over.wait(30)
        except ConnectionError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    """A web server: its port, and what it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.asked, server.over, server.port = [], threading.Event(), server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def certificate(site, tmp_path):
    """A certificate of the host named inside, by which the web server speaks TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, path = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=inside -addext subjectAltName=DNS:inside"
    subprocess.run([*command.split(), "-keyout", key, "-out", path], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    return path


@pytest.fixture
def resolved(monkeypatch):
    """Names resolve to the addresses given here, one answer after the other; the names that were asked for."""
    asked = []

    def set_answers(**answers):
        async def getaddrinfo(self, host, port, **_):
            asked.append(host)
            if host not in answers:
                raise OSError
            address = answers[host].pop(0)
            return [(2, 1, 6, "", (each, port)) for each in address.split()]

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
        return asked

    return set_answers


def left(client):
    settings = client.service.settings
    return [*settings.incoming.iterdir(), *settings.jobs.iterdir()]


def told(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def test_a_song_is_fetched_where_redirects_lead(application, site):
    here = f"127.0.0.1:{site.port}"
    client = application(f"url_hosts=['{here}']")
    url = f"http://{here}/away/a?/away/b?http://{here}/song/Ümlaut one.wav?key=1".replace("Ü", "%C3%9C")
    job = client.post("/v1/jobs", files={"url": (None, url)}, data={"format": "mp3"})
    assert (job.status_code, job.json()["options"]["format"]) == (202, "mp3")
    assert (client.service.settings.jobs / job.json()["id"] / "upload").read_bytes() == SONG
    assert site.asked[-1] == ("/song/%C3%9Cmlaut%20one.wav?key=1", here)
    plain = client.post("/v1/jobs", data={"url": f"http://{here}/bare/%C3%9Cmlaut%20two.wav#part"}).json()
    assert plain["name"] == "Ümlaut two.wav"
    assert (client.service.settings.jobs / plain["id"] / "upload").read_bytes() == SONG


def test_a_batch_of_files_and_urls_is_taken_whole_or_not(application, site):
    here = f"http://127.0.0.1:{site.port}"
    client = application(f"url_hosts=['127.0.0.1:{site.port}']", "limits.files_per_batch=3")
    form = [("url", (None, f"{here}/song/1.wav")), ("files", ("0.wav", b"x")), ("url", (None, f"{here}/bare/2.wav"))]
    batch = client.post("/v1/batches", files=form).json()
    assert [job["name"] for job in batch["jobs"]] == ["0.wav", "1.wav", "2.wav"]
    before = left(client)
    missing = [*form[:2], ("url", (None, f"{here}/missing/3.wav?key=secret"))]
    assert (
        told(client.post("/v1/batches", files=missing), 422) == f"{here}/missing/3.wav: the server answers 404, not 200"
    )
    assert "at most 3" in told(client.post("/v1/batches", files=[*form, *form]), 400)
    assert "POST /v1/batches" in told(client.post("/v1/jobs", files=form[:2]), 400)
    assert left(client) == before


def test_the_songs_of_a_manifest_are_one_batch(application, site):
    here = f"http://127.0.0.1:{site.port}"
    client = application(f"url_hosts=['127.0.0.1:{site.port}']", "limits.files_per_batch=3")
    lines = f"\ufeff{here}/song/1.wav\r\n\n{here}/bare/2.wav\t../Zwölf.wav\n"

    def post(text, **fields):
        files = [("manifest", ("songs.txt", text.encode() if isinstance(text, str) else text))]
        return client.post("/v1/batches", files=files, data=fields)

    batch = post(lines, two_stems="vocals").json()
    assert [(job["name"], job["batch"]) for job in batch["jobs"]] == [(n, batch["id"]) for n in ("1.wav", "Zwölf.wav")]
    assert {job["options"]["two_stems"] for job in batch["jobs"]} == {"vocals"}
    assert [job["name"] for job in client.get(f"/v1/batches/{batch['id']}").json()["jobs"]] == ["1.wav", "Zwölf.wav"]
    before = left(client)
    missing = f"line 5 of the manifest: {here}/missing/3.wav: the server answers 404"
    assert told(post(f"{lines}\n{here}/missing/3.wav"), 422).startswith(missing)
    asked = len(site.asked)
    assert told(post(f"{lines}http://other.org/3.wav"), 403).startswith("line 4 of the manifest: songs are not fetched")
    assert "3.wav" in told(post(f"{lines}3.wav"), 422)
    assert "has 4 songs, at most 3" in told(post(lines + lines), 400)
    assert "lists no song" in told(post("\n \n"), 422)
    assert "no text in UTF-8" in told(post(b"\xff\xfe\x00"), 422)
    assert "a manifest may have" in told(post("x" * 300_000), 413)
    assert (left(client), len(site.asked)) == (before, asked)


def test_what_does_not_come_whole_and_in_time_leaves_nothing(application, site):
    here = f"127.0.0.1:{site.port}"
    limits = ("limits.megabytes=0.6", "limits.idle_seconds=0.3", "limits.upload_seconds=1")
    client = application(f"url_hosts=['{here}']", *limits)
    for path, status, said in (
        ("cut", 422, "the connection broke off"),
        ("still", 422, "nothing came for 0.3 s"),
        ("drip", 422, "did not come within 1 s"),
        ("huge", 413, "more bytes"),
        ("endless", 413, "more bytes"),
        ("missing", 422, "answers 404"),
        ("loop", 422, "leads on more than 5 times"),
        ("away?//127.0.0.1:none", 422, "cannot be read"),
    ):
        assert said in told(client.post("/v1/jobs", data={"url": f"http://{here}/{path}"}), status)
        assert left(client) == []
    site.shutdown()
    site.server_close()
    assert "cannot be reached" in told(client.post("/v1/jobs", data={"url": f"http://{here}/song"}), 422)
    assert left(client) == []


FOREIGN = [
    ("http://example.org.evil.net/song", 403),
    ("http://evil.net/example.org", 403),
    ("http://xexample.org/song", 403),
    ("http://sub.example.org/song", 403),
    ("http://example.org./song", 403),
    ("http://example.org:8080/song", 403),
    ("http://other.org/song", 403),
    ("http://127.0.0.1/song", 403),
    ("http://2130706433/song", 403),
    ("http://0x7f.0.0.1/song", 403),
    ("http://[::ffff:127.0.0.1]/song", 403),
    ("http://user:secret@example.org/song", 422),
    ("http://example.org@evil.net/song", 422),
    ("http://example.org\\@evil.net/song", 422),
    ("http://exämple.org/song", 422),
    ("http://example.org/a\r\nHost: evil.net", 422),
    ("http://example.org:99999/song", 422),
    ("http://[example.org/song", 422),
    ("ftp://example.org/song", 422),
    ("file:///etc/passwd", 422),
    ("//example.org/song", 422),
    ("example.org/song", 422),
    ("", 422),
    ("http://example.org/" + "x" * 2000, 422),
]


def test_what_is_not_listed_is_not_asked_for(application, resolved):
    client, asked = application("url_hosts=[example.org,other.org:8443]"), resolved()
    for url, status in FOREIGN:
        said = told(client.post("/v1/jobs", data={"url": url, "format": "mp3"}), status)
        assert "secret" not in said
        assert asked == left(client) == [], url


def test_no_url_is_taken_unless_hosts_are_listed(application):
    assert "url_hosts is empty" in told(application().post("/v1/jobs", data={"url": "http://example.org/song"}), 403)


def test_forms_are_described(application):
    paths = application().get("/openapi.json").json()["paths"]
    for path, fields in (("/v1/jobs", {"file", "url"}), ("/v1/batches", {"files", "url", "manifest"})):
        body = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert {name for one in body["anyOf"] for name in one["required"]} == fields <= set(body["properties"])


def test_a_redirect_leads_to_no_other_host(application, site):
    here = f"127.0.0.1:{site.port}"
    client = application(f"url_hosts=['{here}']")
    for other in (f"http://localhost:{site.port}/song", "http://169.254.169.254/latest", "file:///etc/passwd"):
        assert client.post("/v1/jobs", data={"url": f"http://{here}/away?{other}"}).status_code in (403, 422)
    assert [path.split("?")[0] for path, _ in site.asked] == ["/away"] * 3
    assert left(client) == []


def test_names_of_private_addresses_are_refused_unless_told_and_resolved_once(application, site, resolved):
    asked = resolved(inside=["127.0.0.1", "127.0.0.1", "10.0.0.1"], mixed=["8.8.8.8 127.0.0.1"])
    hosts = f"url_hosts=['inside:{site.port}','mixed:{site.port}','nowhere']"
    url = f"http://inside:{site.port}/song/a.wav"
    client = application(hosts)
    assert "not public" in told(client.post("/v1/jobs", data={"url": url}), 403)
    assert "not public" in told(client.post("/v1/jobs", data={"url": url.replace("inside", "mixed")}), 403)
    assert "no host named" in told(client.post("/v1/jobs", data={"url": "https://nowhere"}), 422)
    assert site.asked == left(client) == []
    asked.clear()
    client = application(hosts, "url_networks=[127.0.0.0/8]")
    assert client.post("/v1/jobs", data={"url": url}).status_code == 202
    assert site.asked == [("/song/a.wav", f"inside:{site.port}")]
    assert asked == ["inside"]
    assert client.post("/v1/jobs", data={"url": url}).status_code == 403  # it is 10.0.0.1 now


PRIVATE = """
127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 198.18.0.1
::1 :: fe80::1 fc00::1 fec0::1 ff02::1 ::ffff:127.0.0.1 ::127.0.0.1 2002:7f00:1:: 2001:db8::1 64:ff9b::7f00:1
64:ff9b:1::1 2001:0:4136:e378::1
"""


def test_a_certificate_has_to_be_the_hosts(application, site, certificate, resolved, monkeypatch):
    resolved(inside=["127.0.0.1"] * 2, other=["127.0.0.1"])
    hosts = f"url_hosts=['inside:{site.port}','other:{site.port}']"
    client = application(hosts, "url_networks=[127.0.0.0/8]")

    def post(host):
        return client.post("/v1/jobs", data={"url": f"https://{host}:{site.port}/song/a.wav"})

    said = f"https://inside:{site.port}/song/a.wav: the host has no certificate that is to be trusted"
    assert told(post("inside"), 422) == said
    monkeypatch.setattr(fetching, "_trust", lambda: ssl.create_default_context(cafile=certificate))
    assert "no certificate" in told(post("other"), 422)
    assert post("inside").status_code == 202


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_public(address):
    assert not Hosts([], [])._allowed(ipaddress.ip_address(address))


def test_addresses_that_are_public_and_hosts_that_are_none():
    for address in ("8.8.8.8", "2606:4700::1111"):
        assert is_public(ipaddress.ip_address(address))
    for address in ("::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert Hosts([], [])._allowed(ipaddress.ip_address(address))
    hosts = Hosts(["Example.org", "::1", "[fd00::1]:8443"], ["10.0.0.0/8"])
    assert hosts.check("https://EXAMPLE.org/a b?c d#e").url == "https://example.org/a%20b?c%20d"
    assert hosts.check("http://[0:0::1]").netloc == "[::1]"
    assert hosts.check("http://[fd00::1]:8443/x").netloc == "[fd00::1]:8443"
    with pytest.raises(Refused):
        hosts.check("http://[fd00::1]/x")
    for wrong in ("*.example.org", "https://example.org", "example.org/x", "a@example.org", "", "a:b", ".org", "a b"):
        with pytest.raises(ConfigError, match="url_hosts has"):
            Hosts([wrong], [])
    with pytest.raises(ConfigError, match="url_networks has"):
        Hosts([], ["10.0.0.1/8"])
