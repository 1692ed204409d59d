"""Peak memory of what is measured, not of what the process did before."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

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
