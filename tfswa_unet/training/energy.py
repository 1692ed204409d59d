"""Energy that a processor or GPU takes while a run goes on, where its own counters can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """A counter of energy.

    Args:
        read: gives its state.
        per_joule: what it counts for a joule.
        range: the state after which it begins again at 0; None where it does not.
    """

    read: Callable[[], int]
    per_joule: float
    range: int | None = None


class Energy:
    """Joules since it was made: those of whole processors or GPUs, whoever else used them.

    `joules` is None where nothing counts, and from when a counter could not be read any more.

    Args:
        counters: to sum.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self.joules = 0.0 if counters else None
        self._last = self._states()

    def update(self) -> None:
        """Add what was counted since the last time; counters that begin again need it once a range."""
        states = self._states()
        for counter, before, after in zip(self._counters, self._last, states, strict=False):
            counted = after - before + (counter.range or 0 if after < before else 0)
            if self.joules is not None:
                self.joules = self.joules + counted / counter.per_joule if counted >= 0 else None
        self._last = states

    def _states(self) -> list[int]:
        try:
            return [counter.read() for counter in self._counters]
        except Exception:  # each library of counters has errors of its own
            self.joules = None
            return []


def counters(device: torch.device, numbers: Sequence[int]) -> list[Counter]:
    """The counters of the processors, or of the GPUs with these numbers; none where they cannot be read."""
    try:
        if device.type == "cuda":
            return _gpu_counters(numbers)
        return processor_counters() if device.type == "cpu" else []
    except Exception:  # each library of counters has errors of its own
        return []


def processor_counters(folder: Path = POWERCAP) -> list[Counter]:
    """Counters of Linux's powercap (RAPL), one for each processor package, in microjoules."""
    packages = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    packages = [zone for zone in packages if (zone / "name").read_text().startswith("package")]
    return [
        Counter(partial(_number, zone / "energy_uj"), 1e6, _number(zone / "max_energy_range_uj")) for zone in packages
    ]


def _gpu_counters(numbers: Sequence[int]) -> list[Counter]:
    """Counters of NVIDIA's management library, in millijoules, where its package pynvml is installed."""
    import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]

    library: Any = pynvml
    library.nvmlInit()
    names = [f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in numbers]
    handles = [library.nvmlDeviceGetHandleByUUID(name) for name in names]
    return [Counter(partial(library.nvmlDeviceGetTotalEnergyConsumption, handle), 1e3) for handle in handles]


def _number(path: Path) -> int:
    return int(path.read_text())
