"""A service under load: how soon it answers while its worker is busy, and what memory it keeps."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from tfswa_unet import audio
from tfswa_unet.bench.results import FAILED, MEASURED, tell
from tfswa_unet.bench.settings import ServeSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, mixtures
from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.errors import RunError
from tfswa_unet.processes import processors

JOBS = "/v1/jobs"
SETTLED_JOBS = 20  # after which memory is to stay as it is
APART_SECONDS = 0.2  # from a client's beginning to the next one's
POLL_SECONDS = 1.0  # between questions about a job, as the service's page asks
READY_SECONDS = 0.2  # between questions whether the model is loaded
TIMEOUT_SECONDS = 120.0  # of one request
STOP_SECONDS = 30.0
BOUNDARY = "tfswa-bench"


@dataclass(frozen=True)
class Answer:
    """What came back for a request."""

    status: int
    headers: HTTPMessage
    body: bytes


class Service:
    """A service in processes of its own: the server and, below it, the worker.

    Args:
        process: of the server.
        url: where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self._place = urlsplit(url).netloc

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send a request, on a connection of its own as curl does."""
        connection = HTTPConnection(self._place, timeout=TIMEOUT_SECONDS)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if body else {}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read())
        finally:
            connection.close()

    def figures(self) -> dict[str, float]:
        """What /metrics says, by name and labels."""
        text = self.ask("GET", "/metrics").body.decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    def memory(self) -> dict[str, float]:
        """Resident memory of the server and of its worker, in MB of 10⁶ bytes."""
        listed = subprocess.run(
            ["ps", "-axwwo", "pid=,ppid=,rss=,command="], capture_output=True, text=True, check=True
        )
        sizes = {}
        for line in listed.stdout.splitlines():
            own, parent, kilobytes, command = line.split(None, 3)
            if int(own) == self.process.pid:
                sizes["server"] = int(kilobytes) * 1024 / 1e6
            elif int(parent) == self.process.pid and "service.worker" in command:
                sizes["worker"] = int(kilobytes) * 1024 / 1e6
        return sizes


class Load:
    """Clients that have songs separated, come back where there is no room, and delete what they have taken.

    Args:
        service: under load.
        setting: how many clients and jobs.
        upload: the form that each job is made of.
    """

    def __init__(self, service: Service, setting: ServeSetting, upload: bytes) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)  # until answers were whole, by what was asked
        self.memory: list[dict[str, float]] = []  # whenever a job was done
        self.faults: Counter[str] = Counter()
        self._service, self._setting, self._upload = service, setting, upload
        self._left: SimpleQueue[int] = SimpleQueue()
        self._over = threading.Event()

    def run(self) -> None:
        """Have all jobs done; raises OSError and HTTPException where the service gives no answer."""
        for number in range(self._setting.jobs):
            self._left.put(number)
        with ThreadPoolExecutor(self._setting.clients) as pool:
            clients = [pool.submit(self._client, place * APART_SECONDS) for place in range(self._setting.clients)]
            try:
                for client in clients:
                    client.result()
            finally:
                self._over.set()

    def _client(self, begins: float) -> None:
        self._over.wait(begins)
        while not self._over.is_set():
            try:
                self._left.get_nowait()
            except Empty:
                return
            job = self._posted()
            if job is not None:
                self._follow(f"{JOBS}/{job}")

    def _posted(self) -> str | None:
        """A job's id, once there was room for it; None where something else was answered."""
        while True:
            began = time.perf_counter()
            answer = self._service.ask("POST", JOBS, self._upload)
            took = time.perf_counter() - began
            if answer.status == 202:
                self.seconds["accepted posts"].append(took)
                return str(json.loads(answer.body)["id"])
            if answer.status != 429:
                self.faults[f"a post was answered with {answer.status}: {answer.body.decode(errors='replace')}"] += 1
                return None
            self.seconds["refused posts"].append(took)
            if "Retry-After" not in answer.headers:
                self.faults["429 came without Retry-After"] += 1
            if self._over.wait(float(answer.headers.get("Retry-After", POLL_SECONDS))):
                return None

    def _follow(self, job: str) -> None:
        """Wait for a job, take one of its stems, and delete it."""
        while True:
            shown = json.loads(self._timed("status reads", "GET", job, 200).body)
            if shown.get("state") not in ("queued", "running"):
                break
            if self._over.wait(POLL_SECONDS):
                return
        if shown.get("state") != "done":
            self.faults[f"a job ended as {shown.get('state')}: {shown.get('error')}"] += 1
        else:
            self.memory.append(self._service.memory())
            tell(f"{len(self.memory)} of {self._setting.jobs} done")
            self._timed("stems", "GET", next(iter(shown["stems"].values())), 200)
        self._timed("deletions", "DELETE", job, 204)

    def _timed(self, kind: str, method: str, path: str, expected: int) -> Answer:
        began = time.perf_counter()
        answer = self._service.ask(method, path)
        self.seconds[kind].append(time.perf_counter() - began)
        if answer.status != expected:
            self.faults[f"{method} of {kind} was answered with {answer.status}"] += 1
        return answer


def measure(setting: ServeSetting) -> dict[str, object]:
    """Start `tfswa serve` on loopback and have clients post jobs until all are done.

    Latencies are the clients' own, so that what their threads wait for counts too. Memory is the most until so many
    jobs were done, and until the end. `status` is failed where a post was answered with anything but 202 or 429, a job
    was not done, or /metrics disagrees with what the clients saw.

    Raises:
        RunError: where the service does not begin, or gives no answer.
    """
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="tfswa-") as folder:
        upload = _form(Path(folder, "song.wav"), setting.seconds)
        with _served(setting, Path(folder)) as service:
            load = Load(service, setting, upload)
            began = time.perf_counter()
            try:
                model = json.loads(service.ask("GET", "/v1/models").body)[0]
                load.run()
                wall, figures = time.perf_counter() - began, service.figures()
            except (OSError, HTTPException) as error:
                raise RunError(f"the service gave no answer ({type(error).__name__}: {error})") from None
    faults = [f"{text} ({count} times)" for text, count in load.faults.items()]
    faults += [f"/metrics has {name} {had:g}, expected {due:g}" for name, had, due in _disagreements(load, figures)]
    return {
        "status": FAILED if faults else MEASURED,
        "reason": "; ".join(faults) or None,
        "model": model["name"],
        "device": model["device"],
        "cores": processors(),
        "load_average_before": busy,
        "clients": setting.clients,
        "queue": setting.queued,
        "jobs": setting.jobs,
        "audio_seconds": setting.seconds,
        "done": len(load.memory),
        "wall_seconds": wall,
        "real_time_factor": figures["tfswa_real_time_factor"],
        "latency_ms": {kind: _summary(seconds) for kind, seconds in load.seconds.items()},
        **_memory(load),
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * each for each in seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"count": len(ordered), "p50": statistics.median(ordered), "p95": p95, "most": ordered[-1]}


def _memory(load: Load) -> dict[str, object]:
    """The most memory until the first jobs were done and until the end, in MB, and the growth between them."""
    settled = min(SETTLED_JOBS, (len(load.memory) + 1) // 2)
    found: dict[str, object] = {}
    for name in ("server", "worker"):
        sizes = [sample[name] for sample in load.memory if name in sample]
        if sizes:
            first, last = max(sizes[:settled]), max(sizes)
            found[f"{name}_memory"] = {
                f"mb_after_{settled}_jobs": first,
                "mb_at_the_end": last,
                "growth_percent": 100 * (last / first - 1),
            }
    return found


def _disagreements(load: Load, figures: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """Name, what /metrics has, and what it should have, of each figure that is not what the clients saw."""
    counts = {kind: len(seconds) for kind, seconds in load.seconds.items()}
    posts = counts.get("accepted posts", 0) + counts.get("refused posts", 0)
    done = len(load.memory)
    due = {
        'tfswa_jobs_ended_total{end="done"}': done,
        'tfswa_jobs_ended_total{end="failed"}': counts.get("deletions", 0) - done,
        'tfswa_jobs_ended_total{end="cancelled"}': 0,
        "tfswa_audio_seconds_total": done * load._setting.seconds,
        f'tfswa_request_seconds_count{{method="POST",route="{JOBS}"}}': posts,
        f'tfswa_request_seconds_count{{method="GET",route="{JOBS}/{{id}}"}}': counts.get("status reads", 0),
        **{f'tfswa_jobs{{state="{state}"}}': 0 for state in ("queued", "running", "done", "failed")},
    }
    for name, value in due.items():
        had = figures.get(name, 0.0)
        if abs(had - value) > 1e-3 * value:
            yield name, had, value


def _form(path: Path, seconds: float) -> bytes:
    """A synthetic song as the form that uploads it."""
    audio.write(path, mixtures(1, CHANNELS, seconds, RATE)[0].numpy(), RATE, "wav16")
    disposition = f'Content-Disposition: form-data; name="file"; filename="{path.name}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def _served(setting: ServeSetting, folder: Path) -> Iterator[Service]:
    """Start a service with a queue of the setting's length, and wait for its model; raises RunError."""
    command = [sys.executable, "-m", "tfswa_unet", "serve", "--model", setting.model or DEFAULT_MODEL]
    command += ["--data", str(folder / "data"), "--host", "127.0.0.1", "--port", "0"]
    values = {
        "database": "null",
        "node": "bench",
        "limits.queued": setting.queued,
        "limits.jobs_per_token": setting.queued + setting.jobs,  # all clients are one where there are no tokens
        "limits.uploads": setting.clients,
        "limits.requests_per_minute": 10**6,
        "limits.free_gigabytes": 0,
        "separation.device": setting.device,
        "separation.threads": setting.threads or "null",
    }
    command += [f"{name}={value}" for name, value in values.items()]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    assert process.stdout is not None
    try:
        service = Service(process, process.stdout.readline().strip())
        while not (process.poll() is None and _is_ready(service)):
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RunError(f"the service did not begin: {said[-1].removeprefix('error: ')}")
            time.sleep(READY_SECONDS)
        yield service
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        process.stdout.close()


def _is_ready(service: Service) -> bool:
    try:
        return service.ask("GET", "/readyz").status == 200
    except (OSError, HTTPException):
        return False
