"""How much memory a pass through a network, forward and backward, needs at once."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


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
