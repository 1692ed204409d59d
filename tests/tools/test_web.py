"""The build of the page of web/, with files in place of what npm fetches."""

import functools
import json
import socket
import sys
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import ClassVar

import pytest

from tests.web.conftest import MODEL
from tools import web


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in (*web.WASM, *web.WEBGPU):
        (folder / name).write_text(name)
    monkeypatch.setattr(web, "RUNTIME", folder)
    return folder


def _facts(out):
    text = (out / "build.js").read_text()
    return json.loads(text.removeprefix("const BUILD = ").removesuffix(";\n"))


def test_everything_that_the_page_asks_for_is_there_and_kept(runtime, tmp_path):
    out = tmp_path / "dist"
    web.build(str(MODEL), out)
    facts = _facts(out)
    assert all((out / name).exists() for name in facts["files"])
    assert {"./", "app.js", "worker.js", "style.css", "model.onnx", "ort/ort.wasm.min.mjs"} <= set(facts["files"])
    assert not any("asyncify" in name for name in facts["files"])  # fetched where a browser needs it
    assert (out / "model.onnx").read_bytes() == MODEL.read_bytes()
    assert facts["headers"] == web.HEADERS
    again = tmp_path / "again"
    web.build(str(MODEL), again)
    web.build(str(MODEL), again)
    assert _facts(again) == facts
    (runtime / web.WASM[0]).write_text("newer")
    web.build(str(MODEL), again)
    assert _facts(again)["version"] != facts["version"]


def test_the_page_names_only_files_that_are_built(runtime, tmp_path):
    web.build(str(MODEL), tmp_path / "dist")
    for page in (tmp_path / "dist").glob("*.js"):
        for line in page.read_text().splitlines():
            if line.startswith("import ") and " from '" in line:
                assert (page.parent / line.split(" from '")[1].rstrip("';")).is_file(), line


def test_files_come_with_the_headers_that_threads_need(runtime, tmp_path, monkeypatch):
    said = Queue()
    monkeypatch.setattr(web, "print", lambda text, flush: said.put(text), raising=False)
    web.build(str(MODEL), tmp_path / "dist")
    Thread(target=web.serve, args=(tmp_path / "dist", 0), daemon=True).start()
    address = said.get(timeout=60)
    with urllib.request.urlopen(f"{address}/ort/{web.WASM[2]}") as answer:
        assert answer.headers["Content-Type"] == "application/wasm"
        assert {name: answer.headers[name] for name in web.HEADERS} == web.HEADERS
    with urllib.request.urlopen(f"{address}/worker.js") as answer:
        assert answer.headers["Content-Type"] == "text/javascript"


def test_a_model_is_exported_once(runtime, tmp_path, monkeypatch):
    exported = []

    class Done:
        path = MODEL

    def export(request):
        exported.append(request.model)
        return Done

    monkeypatch.setattr("tfswa_unet.export.export", export)
    source = tmp_path / "model.safetensors"
    source.write_text("weights")
    for _ in range(2):
        web.put_model(str(source), tmp_path / "model.onnx")
    assert exported == [str(source)] * 2  # the file that is there was made of another
    sha256 = web.content_hash(source)
    monkeypatch.setattr(
        "tfswa_unet.inference.exported.load_exported",
        lambda path: type("Model", (), {"facts": {"source": {"sha256": sha256}}}),
    )
    web.put_model(str(source), tmp_path / "model.onnx")
    assert len(exported) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["build", "--model", "none.onnx"], "none.onnx: no such file"),
        (["serve", "--folder", "nowhere"], "nowhere holds no page: run `make web`"),
    ],
)
def test_what_is_missing_is_one_sentence(runtime, tmp_path, arguments, sentence, monkeypatch):
    monkeypatch.setattr("sys.argv", ["web.py", *arguments, *(["--out", str(tmp_path)] if "build" in arguments else [])])
    with pytest.raises(SystemExit) as left:
        web.main()
    assert sentence in str(left.value)


def test_without_what_npm_fetches_nothing_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "RUNTIME", Path("nowhere"))
    with pytest.raises(web.ConfigError, match=r"ort.wasm.min.mjs is missing: run `make web`, or `npm install`"):
        web.build(str(MODEL), tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_browser_that_leaves_in_the_middle_of_a_file_is_no_error(tmp_path):
    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that leaving waits for the answer to end
        failures: ClassVar[list[object]] = []

        def handle_error(self, request: object, client_address: object) -> None:
            self.failures.append(sys.exc_info()[1])

    (tmp_path / "model.onnx").write_bytes(bytes(20_000_000))
    with Server(("127.0.0.1", 0), functools.partial(web.Handler, directory=str(tmp_path))) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            with socket.create_connection(server.server_address) as browser:
                browser.sendall(b"GET /model.onnx HTTP/1.0\r\n\r\n")
                assert browser.recv(12) == b"HTTP/1.0 200"
        finally:
            server.shutdown()
            serving.join()
    assert Server.failures == []
