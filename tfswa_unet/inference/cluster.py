"""Separation on a Ray cluster: actors that hold the model each, to which songs are handed one by one."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tfswa_unet.bundle import find_model
from tfswa_unet.errors import ConfigError, UserError
from tfswa_unet.inference.files import FileResult, run_job
from tfswa_unet.inference.request import Job, Request
from tfswa_unet.inference.separator import Separator
from tfswa_unet.processes import environment, keep_pages

RETRIES = 3  # times that a song is begun anew whose actor was lost
TELEMETRY = "RAY_USAGE_STATS_ENABLED"  # of Ray's makers


class Worker:
    """What an actor does: it loads the model once, and separates the songs that it is given.

    Args:
        model: as for `Separator.load`; every node must be able to read it.
        options: of `Separator.load`.
        request: how stems are written.
        threads: of the CPU.
    """

    def __init__(self, model: str, options: Mapping[str, Any], request: Request, threads: int) -> None:
        self._model, self._options, self._request, self._threads = model, options, request, threads

    @cached_property
    def _separator(self) -> Separator:
        """The model, loaded in a task and not when the actor starts, as Ray tells what goes wrong there as a text."""
        import torch

        torch.set_num_threads(self._threads)
        keep_pages()
        return Separator.load(self._model, **self._options)

    def stems(self) -> tuple[str, ...]:
        """Names of the model's stems."""
        return self._separator.stems

    def separate(self, job: Job) -> FileResult:
        """Separate one song; what goes wrong with it is its result."""
        return run_job(self._separator, self._request, job)


def separate_on_cluster(
    model: str,
    options: Mapping[str, Any],
    request: Request,
    *,
    workers: int | None = None,
    threads: int = 1,
    on_result: Callable[[FileResult, int], None] | None = None,
) -> list[FileResult]:
    """Separate a request's songs in actors of the Ray cluster at RAY_ADDRESS, or of one that is started here.

    Songs whose stems all lie there are left alone, whatever `request` says. A song whose actor is lost is begun anew.

    Args:
        model: as for `Separator.load`; every node must be able to read it, and the songs.
        options: of `Separator.load`.
        request: the songs, and how their stems are written.
        workers: actors; None for as many as the cluster's GPUs, or without any, processors allow.
        threads: processors of each.
        on_result: called with the result of each song, and the number of songs in all, as they are done.

    Raises:
        ConfigError: where Ray is not installed, or has not the resources; for what a request refuses.
        ModelError: where the model cannot be loaded.
    """
    if request.stdout or any(file.piped for file in request.inputs):
        raise ConfigError("Ray separates files into files: name them, and a folder or an address with -o")
    model = str(Path(model).absolute()) if Path(model).is_file() else model  # actors work in other folders
    request = replace(
        request,
        inputs=[replace(file, path=file.path.absolute()) for file in request.inputs],
        out=request.out.absolute(),
        skip_existing=True,
        prefix=f"{request.prefix}{secrets.token_hex(4)}-",
    )
    jobs: list[Job] = []
    with _cluster() as ray:
        # What is there already is left out here, where it is listed once.
        if request.store is None:
            request.out.mkdir(parents=True, exist_ok=True)  # so that no temporary folder lies above it
        theirs = replace(request, inputs=(), skip_existing=False)
        find_model(model)  # refuses one that is not there at once
        actors = _hire(ray, model, options, theirs, workers, threads)
        try:
            stems = [_result(ray, each) for each in [actor.stems.remote() for actor in actors]]
            jobs = request.jobs(stems[0])
            return list(_results(ray, actors, request, jobs, on_result or (lambda result, total: None)))
        finally:
            for actor in actors:
                ray.kill(actor)
            _sweep(request, jobs)


def _sweep(request: Request, jobs: list[Job]) -> None:
    """Remove the temporary folders that actors left when they were ended."""
    if request.store is None:
        above = (path.parents for job in jobs for path in job.paths.values())
        for folder in {each for parents in above for each in parents if each.is_relative_to(request.out)}:
            for left in folder.glob(f"{request.prefix}*"):
                shutil.rmtree(left, ignore_errors=True)


def _results(
    ray: Any, actors: list[Any], request: Request, jobs: list[Job], on_result: Callable[[FileResult, int], None]
) -> Iterator[FileResult]:
    """Hand songs out, one to an actor at a time, so that none is lost with another's actor; results as they come."""
    waiting = iter(jobs)
    running: dict[Any, tuple[Any, Job]] = {}
    stopped = False

    def give(actor: Any) -> Iterator[FileResult]:
        """The next song for an actor, and the results of those before it that are there already."""
        for job in () if stopped else waiting:
            if not request.holds(job):
                running[actor.separate.remote(job)] = actor, job
                return
            yield FileResult(job.file.path, "skipped", request.places(job))

    def told(result: FileResult) -> FileResult:
        on_result(result, len(jobs))
        return result

    for actor in actors:
        yield from map(told, give(actor))
    while running:
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        actor, job = running.pop(done)
        try:
            result = ray.get(done)
        except ray.exceptions.RayError as error:
            lost = "" if isinstance(error, ray.exceptions.RayTaskError) else f"its actor was lost {RETRIES + 1} times: "
            result = FileResult(job.file.path, "failed", error=f"{job.file.path}: {lost}{_reason(error)}")
        stopped = stopped or (result.status == "failed" and request.on_error == "stop")
        yield told(result)
        yield from map(told, give(actor))


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected; what is started here ends here."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed, and --engine ray needs it: pip install 'tfswa-unet[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        with environment(**{TELEMETRY: "0"}):
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster can be reached or started ({error}): check RAY_ADDRESS") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _hire(
    ray: Any, model: str, options: Mapping[str, Any], request: Request, workers: int | None, threads: int
) -> list[Any]:
    """Start the actors."""
    has = ray.cluster_resources()
    device = str(options.get("device", "auto"))
    gpus = 0 if device == "cpu" or (device == "auto" and not has.get("GPU")) else 1
    most = int(has.get("CPU", 0) // threads)
    if gpus:
        most = min(most, int(has.get("GPU", 0)))
    workers = most if workers is None else workers
    if not 1 <= workers <= most:
        told = f"{has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs"
        raise ConfigError(
            f"{workers} actors of {threads} threads{' and a GPU' if gpus else ''} are asked for, and the cluster has "
            f"{told}: give --jobs a number of 1 to {most}, or --threads a smaller one"
        )
    # Each actor sees the GPU that is its own as the first.
    options = {**options, "device": "cuda" if gpus else "cpu"}
    kind = ray.remote(Worker).options(num_cpus=threads, num_gpus=gpus, max_restarts=-1, max_task_retries=RETRIES)
    return [kind.remote(model, options, request, threads) for _ in range(workers)]


def _result(ray: Any, reference: Any) -> Any:
    """A task's result; what the user can put right is raised as it was there."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError):
            raise cause from error
        raise ConfigError(f"an actor of the Ray cluster cannot load the model: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
