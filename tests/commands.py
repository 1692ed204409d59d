"""Commands as a user gives them, each in a forked process, so that what is imported here is not imported again."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import tfswa_unet.evaluation.run
import tfswa_unet.training.fit  # noqa: F401  what commands take seconds to import


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int | None
    stdout: str
    stderr: str


class Running:
    """A command that runs: a script of Python with arguments, in a folder, leading a group of processes of its own."""

    def __init__(self, script: str | Path, *words: str, cwd: Path) -> None:
        self._folder = TemporaryDirectory()
        self._said = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        act = partial(_be, [str(script), *words], cwd, self._said)
        self.process = multiprocessing.get_context("fork").Process(target=act)
        self.process.start()
        while not self._said[-1].exists() and self.process.is_alive():
            time.sleep(0.01)

    def wait(self, seconds: float = 300) -> Done:
        """Its end; one that takes longer is killed."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        with self._folder:
            return Done(self.process.exitcode, *(path.read_text() for path in self._said))


def run(script: str | Path, *words: str, cwd: Path) -> Done:
    """Run a command to its end."""
    return Running(script, *words, cwd=cwd).wait()


def _be(words: list[str], cwd: Path, said: list[Path]) -> None:
    """Become the command: its arguments, folder and streams; end as Python would, and not as pytest does."""
    os.setsid()
    for stream, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(stream, mode) for stream, mode in enumerate("rww"))
    atexit._clear()
    os.chdir(cwd)
    sys.argv, status = words, 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
