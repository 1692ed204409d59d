"""Time, memory and operations of a piece of work."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_HIGH_WATER = "5"  # see proc(5)
BYTES = 1e6  # of a megabyte
FUSED = "_scaled_dot_product_flash_attention"

# torch counts the fused attention kernels of GPUs, but not those of CPUs.
for end in ("", "_backward"):
    gpu = getattr(torch.ops.aten, f"{FUSED}{end}")
    flop_registry[getattr(torch.ops.aten, f"{FUSED}_for_cpu{end}")] = flop_registry[gpu]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything asked of it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def elapsed_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time in s of one call, all that it asks of the device included."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], runs: int, device: torch.device) -> float:
    """Median wall time in s of `runs` calls after one that is not counted."""
    work()
    return statistics.median(elapsed_seconds(work, device) for _ in range(runs))


class Stopwatch:
    """Seconds by part of something repeated; what one lap ends, the next begins.

    On CUDA the time is the device's, between events in its queue, so that measuring makes nothing wait.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[list[tuple[str, Any]]] = []  # of each round: what ended, and when

    def start(self) -> None:
        """Begin another round."""
        synchronise(self.device)
        self._marks.append([("", self._now())])

    def lap(self, part: str) -> None:
        """Count the time since the last lap, or the start, to `part` of this round."""
        self._marks[-1].append((part, self._now()))

    @property
    def rounds(self) -> list[dict[str, float]]:
        """Seconds by part of each round."""
        synchronise(self.device)
        return [self._seconds(marks) for marks in self._marks]

    def shares(self) -> dict[str, float]:
        """The share of each part in the time of all rounds; they sum to one."""
        sums: dict[str, float] = {}
        for parts in self.rounds:
            for part, seconds in parts.items():
                sums[part] = sums.get(part, 0.0) + seconds
        total = sum(sums.values())
        return {part: seconds / total for part, seconds in sums.items()}

    def _now(self) -> Any:
        if self.device.type != "cuda":
            synchronise(self.device)
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _seconds(self, marks: list[tuple[str, Any]]) -> dict[str, float]:
        parts: dict[str, float] = {}
        for (_, before), (part, after) in pairwise(marks):
            elapsed = before.elapsed_time(after) / 1e3 if self.device.type == "cuda" else after - before
            parts[part] = parts.get(part, 0.0) + elapsed
        return parts


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

    def facts(self) -> dict[str, float | None]:
        """Both, as benchmarks say them."""
        return {"start_memory_mb": self.start_mb, "peak_memory_mb": self.megabytes()}


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
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def count_operations(work: Callable[[], object]) -> int:
    """Operations that a call dispatches, each of which a GPU runs as a kernel: views and empty memory are left out."""
    with _Dispatches() as dispatches:
        work()
    return dispatches.count


class _Dispatches(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = function._schema.returns
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in returns)
        if not is_view and not any(part in function._schema.name for part in ("empty", "_unsafe_view")):
            self.count += 1
        return function(*args, **(kwargs or {}))


def flops_per_second(model: Any) -> int:
    """Operations of one second of audio."""
    return count_flops(lambda: model(torch.randn(1, model.channels, model.rate)))


def step_flops(model: nn.Module, work: Callable[[], object]) -> int:
    """Operations of matrix products, attention, convolutions and LSTMs in a forward and backward pass through `model`.

    A multiplication and an addition count as two; Fourier transforms are not counted.
    """
    lstms = {f"{type(model).__name__}.{n}": m for n, m in model.named_modules() if isinstance(m, nn.LSTM)}
    recurrent: list[int] = []

    def add(lstm: nn.LSTM, inputs: tuple[Any, ...], _output: Any) -> None:
        recurrent.append(lstm_flops(lstm, inputs[0].numel() // lstm.input_size))

    hooks = [lstm.register_forward_hook(add) for lstm in lstms.values()]
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        for hook in hooks:
            hook.remove()
    # Fused LSTMs are not counted, others are: what was counted of them gives way to the formula.
    counts = counter.get_flop_counts()
    counted = sum(sum(counts.get(name, {}).values()) for name in lstms)
    return counter.get_total_flops() - counted + 3 * sum(recurrent)


def lstm_flops(lstm: nn.LSTM, steps: int) -> int:
    """Operations of the matrix products of an LSTM's forward pass over so many vectors, all sequences together."""
    directions = 2 if lstm.bidirectional else 1
    inputs = [lstm.input_size, *[directions * lstm.hidden_size] * (lstm.num_layers - 1)]
    return steps * directions * sum(2 * 4 * lstm.hidden_size * (size + lstm.hidden_size) for size in inputs)


def _release_pages() -> None:
    """Give back what `keep_pages` kept of earlier work, or it would count as used."""
    with suppress(OSError, AttributeError):  # where there is no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _reset_high_water() -> bool:
    try:
        CLEAR.write_text(RESET_HIGH_WATER)
        return _high_water() > 0
    except (OSError, StopIteration):
        return False


def _high_water() -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
