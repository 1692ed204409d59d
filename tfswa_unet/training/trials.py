"""Trainings in processes of their own, one after the other in one folder: what sweeps and studies share."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from tfswa_unet.errors import ConfigError, StoppedError
from tfswa_unet.training.builder import is_multirun

LOCK, OUTPUT = "lock", "output.txt"
GRACE = 60.0  # s that a training has to end after SIGTERM


def refuse(values: Mapping[str, Any], asked: str) -> None:
    """Raise ConfigError for what does not go together with `asked`, such as "sweep=optuna"."""
    if is_multirun():
        raise ConfigError(f"{asked} chooses the values itself: leave out -m")
    if {"WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"} & os.environ.keys():
        raise ConfigError(
            f"{asked} starts the processes of each training itself: start it once, without torchrun, and set "
            "trainer.devices"
        )
    if values["trainer"]["num_nodes"] != 1:
        raise ConfigError(f"{asked} trains on one machine: set trainer.num_nodes=1")
    if values["resume"] is not None:
        raise ConfigError(f"{asked} goes on by itself when it is started again: leave out resume=")


def passed_on(words: Sequence[str], group: str) -> list[str]:
    """The overrides of a command that its trainings take too: those that are not of `group`, nor of one run."""
    keys = ((word, word.partition("=")[0].lstrip("+~")) for word in words)
    ours = (group, "resume", "hydra.run.dir")
    return [word for word, key in keys if key not in ours and not key.startswith(f"{group}.")]


def training_command(program: str, overrides: Sequence[str], folder: Path) -> list[str]:
    """The command that trains in a folder, and goes on with what lies there."""
    place = f"hydra.run.dir={override_text(str(folder))}"
    return [sys.executable, program, *overrides, place, "resume=auto"]


def override_text(value: Any) -> str:
    """A plain value as Hydra's overrides have it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_text, value))}]"
    if isinstance(value, str):
        plain = value and all(letter.isalnum() or letter in "_-./" for letter in value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


@contextmanager
def locked(folder: Path, console: Console) -> Iterator[int]:
    """Hold a folder; a training that outlives what was killed holds it too, and is waited for."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"waiting for what is at work in {folder}, or the last training of what was killed there")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise StoppedError at SIGINT and SIGTERM."""

    def receive(number: int, _frame: Any) -> NoReturn:
        raise StoppedError(f"stopped by {signal.Signals(number).name}, and goes on where it was", None, number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(command: Sequence[str], output: Path, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process group that ends with the context: by SIGTERM, at which a training keeps its state, then for good.

    Args:
        command: program and arguments.
        output: file to which all it says is added.
        lock: what `locked` gave.
    """
    with output.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, pass_fds=[lock]
        )
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                process.terminate()
                process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def reason(output: Path) -> str:
    """The error of a process: its last sentence that is one, or else its last line."""
    lines = output.read_text(errors="replace").split("\n")
    said = [line for line in lines if line.strip()] or ["it said nothing"]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return (errors or said)[-1].rstrip(".")
