"""The process that holds the model: takes jobs one after the other, and serves streams beside them.

`server.py` calls its `main` in a new process and writes its settings to standard input, whose end is the end of the
server, and so of the worker.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.errors import AudioError, RunError, UserError
from tfswa_unet.inference.files import FileResult, separate_file
from tfswa_unet.inference.separator import Separator
from tfswa_unet.inference.stream import Cancelled
from tfswa_unet.processes import keep_pages
from tfswa_unet.service.decoding import Decoder
from tfswa_unet.service.results import Results
from tfswa_unet.service.settings import Settings
from tfswa_unet.service.streams import StreamServer
from tfswa_unet.service.table import Job, JobTable

LOG = logging.getLogger("tfswa.worker")
UPLOAD, MIXTURE = "upload", "mixture.wav"
DECODED_SHARE = 0.05  # of a job's progress
RENEW_SECONDS = 1.0
IDLE_SECONDS = 0.2
SWEEP_SECONDS = 60.0
KEEP_SECONDS = (1.0, 5.0, 20.0)  # between attempts to put stems where they stay
SIGNAL_SECONDS = 0.3  # what ended a job's decoder may be a signal to all processes, which comes here a little later
ORPHAN_SECONDS = 3600.0  # more than an upload may take
NICENESS = 10  # so that the server answers while this process computes


class Hold(threading.Thread):
    """Renews the lease of a job while it is worked on, and says whether the work is to stop."""

    def __init__(self, table: JobTable, job: Job, lease_seconds: float, stop: threading.Event) -> None:
        super().__init__(name=f"hold {job.id}", daemon=True)
        self.progress = 0.0
        self.lost = False
        self._table, self._job, self._lease, self._stop_all = table, job, lease_seconds, stop
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(min(RENEW_SECONDS, self._lease / 4)):
            try:
                self.lost = not self._table.renew(self._job, self.progress, self._lease)
            except Exception:  # the database may be away for a while; the lease tells how long
                LOG.warning("the lease of %s was not renewed", self._job.id, exc_info=True)
            if self.lost:
                return

    def cancelled(self) -> bool:
        """Whether the job was deleted or taken away, or the worker is to end."""
        return self.lost or self._stop_all.is_set()

    def __enter__(self) -> Hold:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


class Worker:
    """Separates jobs of the table with one model.

    Args:
        settings: of the service.
        name: this process's, by which it holds jobs.
        separator: the model at work.
    """

    def __init__(self, settings: Settings, name: str, separator: Separator) -> None:
        self.settings, self.name, self.separator = settings, name, separator
        self.table = JobTable(settings.url)
        self.decoder, self.results = Decoder(settings.limits), Results(settings)
        self.stop = threading.Event()

    def run(self) -> None:
        """Take jobs until `stop` is set."""
        swept = -SWEEP_SECONDS
        while not self.stop.is_set():
            if time.monotonic() - swept >= SWEEP_SECONDS:
                self.sweep()
                swept = time.monotonic()
            if not self.step():
                self.stop.wait(IDLE_SECONDS)

    def step(self) -> bool:
        """Do the next job; False where there is none."""
        job = self.table.claim(self.name, self.settings.lease_seconds)
        if job is None:
            return False
        limits, keep = self.settings.limits, self.settings.keep_hours * 3600
        folder = self.settings.jobs / job.id
        if job.attempts > limits.attempts:
            said = f"{job.name}: separating it ended the process {limits.attempts} times: try a shorter song"
            self.table.finish(job, "failed", keep, said, {})
            return True
        began = time.perf_counter()
        with Hold(self.table, job, self.settings.lease_seconds, self.stop) as hold:
            try:
                result, facts = self._separate(job, folder, hold)
                self._keep(job, facts["files"].values(), hold)
                ended = self.table.finish(job, "done", keep, None, facts)
                LOG.info("%s done: %.1f s of audio in %.1f s", job.id, result.seconds, time.perf_counter() - began)
            except Cancelled:
                ended = False
                if not hold.lost:
                    self.table.park(job)
                    return True
            except Exception as error:
                if self.stop.wait(SIGNAL_SECONDS):
                    self.table.park(job)
                    return True
                ended = self.table.finish(job, "failed", keep, _sentence(error, job, folder), {})
                LOG.info("%s failed", job.id)
        self._tidy(job, folder, ended)
        return True

    def sweep(self) -> None:
        """Delete the files of jobs that expired, and what killed processes left."""
        for id in self.table.expire():
            self.results.delete(id)
        self.results.sweep(self.table.ids)
        # Folders first: one that appears after its job's row was looked for is not seen.
        old = [
            path
            for folder in (self.settings.jobs, self.settings.incoming)
            for path in folder.iterdir()
            if _age(path) > ORPHAN_SECONDS
        ]
        known = self.table.ids() if old else set()
        for path in old:
            if path.name not in known:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _separate(self, job: Job, folder: Path, hold: Hold) -> tuple[FileResult, dict[str, Any]]:
        run = folder / f"run-{job.attempts}"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        mixture = run / MIXTURE
        decoded = self.decoder.decode(folder / UPLOAD, mixture, job.name, hold.cancelled)

        def advance(done: int, total: int) -> None:
            hold.progress = DECODED_SHARE + (1 - DECODED_SHARE) * done / max(total, 1)

        hold.progress = DECODED_SHARE
        result = separate_file(
            self.separator,
            mixture,
            run,
            template="{stem}.{ext}",
            on_progress=advance,
            cancel=hold.cancelled,
            **job.options,
        )
        mixture.unlink()
        files = {stem: f"{run.name}/{Path(path).name}" for stem, path in result.files.items()}
        plain = result.plain()
        named = {key: plain[key] for key in ("seconds", "elapsed", "rtf", "null_db", "gain")}
        what = {"rate": decoded.rate, "channels": decoded.channels, "codec": decoded.codec}
        return result, {**named, **what, "files": files}

    def _keep(self, job: Job, files: Collection[str], hold: Hold) -> None:
        """Put a job's stems where they stay, again where that fails for a while."""
        for pause in (*KEEP_SECONDS, None):
            if hold.cancelled():
                raise Cancelled("the job was cancelled before its stems were kept")
            try:
                return self.results.keep(job.id, files)
            except AudioError as error:
                LOG.warning("%s: %s", job.id, error)
                if pause is None:
                    raise RunError(f"{job.name}: its stems cannot be kept now: try again later") from error
                self.stop.wait(pause)

    def _tidy(self, job: Job, folder: Path, ended: bool) -> None:
        """Delete what a finished job needs no more, or all of one that is gone; another's run is left alone."""
        if ended:
            (folder / UPLOAD).unlink(missing_ok=True)
            now = self.table.get(job.id)
            runs = {Path(file).parts[0] for file in now.facts.get("files", {}).values()} if now else set()
            self.results.tidy(job.id, next(iter(runs), None), job.attempts)
        elif self.table.get(job.id) is None:
            self.results.delete(job.id)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _sentence(error: Exception, job: Job, folder: Path) -> str:
    """What a client is told: the song by its name, nothing of where it lies here."""
    if not isinstance(error, UserError):
        LOG.error("%s: a defect", job.id, exc_info=error)
        return f"{job.name}: an unexpected {type(error).__name__} ended its separation"
    said = str(error)
    for path in (folder / f"run-{job.attempts}" / MIXTURE, folder / UPLOAD, folder):
        said = said.replace(str(path), job.name)
    return said


def main() -> int:
    """Work as standard input says, until it ends or SIGTERM comes."""
    os.nice(NICENESS)
    told = json.loads(sys.stdin.readline())
    settings = Settings.from_values(told["settings"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C the server tells
    threading.Thread(target=_end_with_server, daemon=True).start()
    if settings.separation.threads is not None:
        torch.set_num_threads(settings.separation.threads)
    keep_pages()
    try:
        separator = Separator.load(settings.model or DEFAULT_MODEL, **settings.separation.options())
    except UserError as error:
        LOG.error("%s", error)
        return 1
    worker = Worker(settings, told["worker"], separator)
    worker.stop = stop
    with StreamServer(separator, Path(told["socket"]), settings.limits.stream_seconds):
        LOG.info("ready: %s on %s", settings.model or DEFAULT_MODEL, separator.device)
        worker.run()
    return 0


def _end_with_server() -> None:
    sys.stdin.read()
    os._exit(0)
