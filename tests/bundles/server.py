"""A local HTTP server: files with faults, and the few endpoints of the Hugging Face Hub that models need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class Server:
    """What is served, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}  # by path
        self.cut: set[str] = set()  # paths whose connection breaks off in the middle
        self.repositories: dict[str, dict[str, bytes]] = {}  # files by repository
        self.damaged: set[str] = set()  # repositories whose files arrive with a bit turned
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.address = ""

    def resolved(self, path: str) -> tuple[str, bytes] | None:
        """Repository and content of /OWNER/NAME/resolve/REVISION/FILE."""
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not match or match[2] not in ("main", "v1", COMMIT) or match[3] not in self.repositories.get(match[1], {}):
            return None
        return match[1], self.repositories[match[1]][match[3]]


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port of this machine."""
    served = Server()
    uploads: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _json(self, values: object) -> None:
            self._answer(200, json.dumps(values).encode(), Content_Type="application/json")

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self):
            served.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if path in served.files:
                content = served.files[path]
                if path in served.cut:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: len(content) // 2])
                    return
                self._answer(200, content)
            elif found := served.resolved(path):
                repository, content = found
                hashed = hashlib.sha256(content).hexdigest()
                if repository in served.damaged:
                    content = bytes([content[0] ^ 1]) + content[1:]
                headers = {"X_Repo_Commit": COMMIT, "X_Linked_Etag": f'"{hashed}"', "X_Linked_Size": str(len(content))}
                self._answer(200, content, ETag=f'"{hashed}"', **headers)
            else:
                parts = path.split("/")
                known = "/".join(parts[1:3]) in served.repositories
                missing = "RepoNotFound" if not known else "EntryNotFound" if parts[4] == "main" else "RevisionNotFound"
                self._answer(404, X_Error_Code=missing, X_Repo_Commit=COMMIT)

        do_HEAD = do_GET

        def do_PUT(self):
            uploads[self.path.rpartition("/")[2]] = self._body()
            self._answer(200)

        def do_POST(self):
            served.asked.append(f"POST {self.path}")
            if self.headers.get("authorization") != "Bearer mine":
                self._answer(401)
            elif self.path == "/api/repos/create":
                asked = json.loads(self._body())
                name = f"{asked['organization']}/{asked['name']}"
                served.repositories.setdefault(name, {})
                served.private[name] = asked.get("visibility") == "private"
                self._json({"url": f"{served.address}/{name}"})
            elif self.path == "/api/validate-yaml":
                self._json({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = [file["path"] for file in json.loads(self._body())["files"]]
                modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
                told = [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]
                self._json({"files": told})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(self._body())["objects"]
                actions = {each["oid"]: {"upload": {"href": f"{served.address}/put/{each['oid']}"}} for each in objects}
                self._json({"transfer": "basic", "objects": [{**o, "actions": actions[o["oid"]]} for o in objects]})
            elif "/commit/" in self.path:
                name = "/".join(self.path.split("/")[3:5])
                for line in map(json.loads, self._body().splitlines()):
                    value = line["value"]
                    if line["key"] == "lfsFile":
                        served.repositories[name][value["path"]] = uploads[value["oid"]]
                    elif line["key"] == "file":
                        served.repositories[name][value["path"]] = base64.b64decode(value["content"])
                address = f"{served.address}/{name}/commit/{COMMIT}"
                self._json({"success": True, "commitUrl": address, "commitOid": COMMIT, "pullRequestUrl": None})
            else:
                self._answer(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            http.shutdown()
            thread.join()
