"""Processors and their names, worker processes, their environment, and memory that stays with the process."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tfswa_unet.errors import DataError

if TYPE_CHECKING:
    import torch

CPU_FACTS = Path("/proc/cpuinfo")
Result = TypeVar("Result")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """The device as its maker calls it."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    if CPU_FACTS.is_file():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def imports() -> Iterator[None]:
    """Import large packages inside, without the garbage collector.

    It would look several times through hundreds of thousands of objects, and all of them once more when the process
    ends; what modules hold stays as long as that.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables, which libraries and new processes read, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def in_processes(work: Callable[..., Result], calls: Sequence[tuple], workers: int) -> Iterator[Result]:
    """Yield the results of `work(*call)` in the order in which they are done, from `workers` processes.

    With one worker the work is done here. The first exception ends everything; calls that wait are dropped. The
    processes end when this one does, whatever ended it. Raises DataError where one of them was ended from outside.
    """
    if min(workers, len(calls)) <= 1:
        for call in calls:
            yield work(*call)
        return
    # Not "fork": the caller may run threads, whose locks a forked child would inherit.
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    context.set_forkserver_preload([work.__module__])
    with ProcessPoolExecutor(min(workers, len(calls)), context, initializer=_start) as pool:
        futures = [pool.submit(work, *call) for call in calls]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                "A working process was ended from outside, often because memory ran out: "
                "ask for fewer workers and run again, what is done stays done."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # there is a process for every processor already
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's processes wait for work on a pipe whose other end they hold too: they would never see a killed parent.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_pages() -> bool:
    """Tell glibc to keep freed blocks instead of giving them back to the system after every operation.

    Networks free and take hundreds of megabytes a second; on virtual machines fresh pages cost up to a third of the
    time. Peak memory grows by what lies between the blocks in use. Returns whether the setting took.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 512 << 20))
    return all(mallopt(option, value) == 1 for option, value in settings)
