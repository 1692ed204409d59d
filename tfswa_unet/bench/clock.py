"""Wall time, with the device's queue empty at both ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

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
