"""Time, memory and operations of a piece of work."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Clock = Callable[[], float]  # seconds


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything asked of it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def median_seconds(work: Callable[[], object], runs: int, device: torch.device) -> float:
    """Median wall time in s of `runs` calls after one that is not counted."""
    work()
    elapsed = []
    for _ in range(runs):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        elapsed.append(time.perf_counter() - start)
    return statistics.median(elapsed)


class Stopwatch:
    """Seconds by part of something repeated; what one lap ends, the next begins.

    Args:
        device: synchronised at every lap, so that queued work counts where it was asked for.
        clock: s from any origin.
    """

    def __init__(self, device: torch.device, clock: Clock = time.perf_counter) -> None:
        self.device = device
        self.clock = clock
        self.rounds: list[dict[str, float]] = []
        self._last = clock()

    def start(self) -> None:
        """Begin another round."""
        synchronise(self.device)
        self.rounds.append({})
        self._last = self.clock()

    def lap(self, part: str) -> None:
        """Count the time since the last lap, or the start, to `part` of this round."""
        synchronise(self.device)
        now = self.clock()
        current = self.rounds[-1]
        current[part] = current.get(part, 0.0) + now - self._last
        self._last = now

    def shares(self) -> dict[str, float]:
        """The share of each part in the time of all rounds; they sum to one."""
        sums: dict[str, float] = {}
        for parts in self.rounds:
            for part, seconds in parts.items():
                sums[part] = sums.get(part, 0.0) + seconds
        return normalised(sums)


def normalised(seconds: dict[str, float]) -> dict[str, float]:
    """Each value over the sum of all."""
    total = sum(seconds.values())
    return {name: value / total for name, value in seconds.items()}


STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_HIGH_WATER = "5"  # see proc(5)
BYTES = 1e6  # of a megabyte


class PeakMemory:
    """The most memory in use since this was made: by CUDA's allocator, or else by the whole process.

    The process counts with its libraries and weights, since all of that must fit. `start_mb` is what was in use to
    begin with; None, as the peak is, where the system cannot tell: only Linux lets a process reset its high-water mark.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self.known = True
        else:
            _release_pages()
            self.known = device.type == "cpu" and _reset_high_water()
        self.start_mb = self.megabytes()

    def megabytes(self) -> float | None:
        """The peak so far, in MB of 10⁶ bytes."""
        if not self.known:
            return None
        size = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else _high_water()
        return round(size / BYTES, 1)


def _release_pages() -> None:
    """Give back what `keep_pages` kept of earlier work, or it would count as used."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            return


def _reset_high_water() -> bool:
    try:
        CLEAR.write_text(RESET_HIGH_WATER)
        return _high_water() > 0
    except (OSError, StopIteration):
        return False


def _high_water() -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes that tensors made by `work` have in use at once; what was there before is not counted.

    What checkpointing computes a second time counts while it is there.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or it tells of GPUs that it does not find
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    in_use = most = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            in_use += event.nbytes()
            most = max(most, in_use)
    return most


def count_flops(work: Callable[[], object]) -> int:
    """Operations of a forward pass, a multiplication and an addition counting as two; transforms are not counted."""
    # torch counts the fused attention kernels of GPUs, but not the one of CPUs.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={fused: _attention}) as counter:
        work()
    return counter.get_total_flops()


def flops_per_second(model: Any) -> int:
    """Operations of one second of audio."""
    return count_flops(lambda: model(torch.randn(1, model.channels, model.rate)))


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)
