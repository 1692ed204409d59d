"""Where a forward pass spends its time, by kind of module."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tfswa_unet.bench.clock import normalised, synchronise
from tfswa_unet.nn import SequenceAttention

BEFORE, AFTER, REST = "STFT, features", "mask, ISTFT", "network, rest"
AROUND = "projections, norms, fusion"
KINDS = {
    "WindowAttention": "W-MSA",
    "LocalMLP": "MLP",
    "RCM": "convolutions",
    "TokenRCM": "convolutions",
    "ConvBlock": "convolutions",
    "ConvEncoder": "convolutions",
    "ConvDecoder": "convolutions",
    "TFSWABlock": AROUND,
    "ParallelAttention": AROUND,
    "SerialAttention": AROUND,
    "SerialTFSWA": AROUND,
    "SequenceBlock": AROUND,
    "SwinBlock": AROUND,
    "ConvStem": "stem",
    "ConvHead": "head",
    "PatchStem": "stem",
    "PatchHead": "head",
    "Down": "down, up",
    "Up": "down, up",
}
AXES = {"frame": "TSA", "bin": "FSA"}


def module_shares(model: Any, work: Callable[[], object], runs: int, device: torch.device) -> dict[str, float]:
    """Shares of the time of `runs` calls of `work`, which calls the model, the largest first; they sum to one.

    Time belongs to the innermost module that is running and that this project defines; torch's own layers count to
    the module that holds them. What runs outside the network is told apart by whether it comes before or after it. On
    CUDA the time is the device's, between events in its queue.
    """
    recorder = _Recorder(device)
    handles = []
    network = getattr(model, "network", None)
    for module in model.modules():
        if module is model or (type(module).__module__.startswith("torch.") and module is not network):
            continue
        label = REST if module is network else kind(module)
        handles += [
            module.register_forward_pre_hook(lambda *_, label=label: recorder.enter(label)),
            module.register_forward_hook(
                lambda *_, last=module is network: recorder.leave(AFTER if last else None), always_call=True
            ),
        ]
    try:
        for _ in range(runs):
            recorder.begin()
            work()
            recorder.end()
    finally:
        for handle in handles:
            handle.remove()
    shares = normalised(recorder.seconds())
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def kind(module: nn.Module) -> str:
    """What a module's own time is filed under; its class's name where that says it."""
    if isinstance(module, SequenceAttention):
        return AXES[module.axis]
    name = type(module).__name__
    return KINDS.get(name, name)


class _Recorder:
    """A stack of labels, and a mark in time wherever its top changes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stack: list[str] = []
        self.marks: list[tuple[str | None, Any]] = []  # what ended here, when

    def begin(self) -> None:
        synchronise(self.device)
        self.stack = [BEFORE]
        self.marks.append((None, self._now()))

    def end(self) -> None:
        self._mark()
        synchronise(self.device)

    def enter(self, label: str) -> None:
        self._mark()
        self.stack.append(label)

    def leave(self, then: str | None) -> None:
        self._mark()
        self.stack.pop()
        if then is not None:
            self.stack[-1] = then

    def seconds(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for (_, before), (label, after) in zip(self.marks, self.marks[1:], strict=False):
            if label is not None:
                elapsed = before.elapsed_time(after) / 1e3 if self.device.type == "cuda" else after - before
                sums[label] = sums.get(label, 0.0) + elapsed
        return sums

    def _mark(self) -> None:
        self.marks.append((self.stack[-1], self._now()))

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event
