"""What a forward pass costs: time, memory, and where in the model its time goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet.bench.measures import PeakMemory, Stopwatch, count_flops, median_seconds, synchronise
from tfswa_unet.bench.settings import REFERENCE, ForwardSetting
from tfswa_unet.bench.subject import as_in_training, mixtures, prepare
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.precision import compile_network
from tfswa_unet.nn import SequenceAttention

BEFORE, AFTER, REST = "STFT, features", "mask, ISTFT", "network, rest"
AROUND = "projections, norms, fusion"
MODULES = {  # classes by the kind that their time is filed under
    "W-MSA": ["WindowAttention"],
    "attention over past frames": ["PastAttention"],
    "MLP": ["LocalMLP", "CausalMLP"],
    "convolutions": [
        *("RCM", "TokenRCM", "CausalRCM", "CausalConv", "BatchNorm", "PointConv", "ConvBlock"),
        *("ConvEncoder", "ConvDecoder"),
    ],
    AROUND: [
        *("TFSWABlock", "CausalBlock", "ParallelAttention", "SerialAttention", "CausalAttention"),
        *("SerialTFSWA", "SequenceBlock", "SwinBlock"),
    ],
    "stem": ["ConvStem", "PatchStem", "CausalStem"],
    "head": ["ConvHead", "PatchHead", "WholeConv", "CausalHead"],
    "down, up": ["Down", "Up"],
}
KINDS = {name: kind for kind, names in MODULES.items() for name in names}
AXES = {"frame": "TSA", "bin": "FSA"}
LARGEST = 150.0  # dB: more says no more than that the outputs are equal


def measure(setting: ForwardSetting) -> dict[str, Any]:
    """Measure calls of the model, from waveforms on the device to stems on the device.

    Raises as `subject.prepare` does, and ConfigError where torch cannot compile or look into the model.
    """
    subject = prepare(setting)
    model = subject.model
    if subject.exported and (setting.profile or setting.compile):
        raise ConfigError(
            f"{setting.model}: an exported model has no modules to --profile or --compile: leave that out, or name the "
            "bundle that it was exported from"
        )
    seconds = as_in_training("seconds", setting.seconds)
    mixture = mixtures(setting.batch, model.channels, seconds, model.rate).to(subject.device)

    def work() -> Tensor:
        with torch.inference_mode(), subject.autocast():
            return model(mixture)

    operations = None if subject.exported else count_flops(lambda: model(mixture))
    start = time.perf_counter()
    if setting.compile:
        compile_network(model, work)
    else:
        work()
    synchronise(subject.device)
    first = time.perf_counter() - start
    peak = PeakMemory(subject.device)
    median = median_seconds(work, setting.runs, subject.device)
    memory = peak.facts()
    snr_db = None
    if setting.compare == REFERENCE or subject.precision == "bf16":
        with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
            exact = model(mixture)
        snr_db = snr_by_stem(exact, work(), tuple(model.stems))
    audio = setting.batch * mixture.shape[-1] / model.rate
    return {
        **subject.facts(),
        "audio_seconds": seconds,
        "batch": setting.batch,
        "runs": setting.runs,
        "compiled": setting.compile,
        "first_seconds": first,  # with compilation where asked for
        "median_seconds": median,
        "real_time_factor": median / audio,
        "segments_per_second": setting.batch / median,
        "audio_seconds_per_second": audio / median,
        "tflops": None if operations is None else operations / median / 1e12,
        **memory,
        "snr_db": snr_db,
        "shares": module_shares(model, work, setting.runs, subject.device) if setting.profile else None,
    }


def module_shares(model: Any, work: Callable[[], object], runs: int, device: torch.device) -> dict[str, float]:
    """Shares of the time of `runs` calls of `work`, which calls the model, the largest first; they sum to one.

    Time belongs to the innermost module that is running and that this project defines; torch's own layers count to
    the module that holds them. What runs outside the network is told apart by whether it comes before or after it.
    """
    # Not torch.profiler: it gives the same shares, but only after a walk through every operator's ancestors that takes
    # several times as long as what is measured, and it does not tell what comes before the network from what comes
    # after it.
    watch = Stopwatch(device)
    running: list[str] = []

    def enter(label: str) -> None:
        watch.lap(running[-1])
        running.append(label)

    def leave(whole: bool) -> None:
        watch.lap(running.pop())
        if whole:
            running[-1] = AFTER

    handles = []
    network = getattr(model, "network", None)
    for module in model.modules():
        if module is model or (type(module).__module__.startswith("torch.") and module is not network):
            continue
        label, whole = (REST, True) if module is network else (kind(module), False)
        handles += [
            module.register_forward_pre_hook(lambda *_, label=label: enter(label)),
            module.register_forward_hook(lambda *_, whole=whole: leave(whole), always_call=True),
        ]
    try:
        for _ in range(runs):
            running[:] = [BEFORE]
            watch.start()
            work()
            watch.lap(running[-1])
    finally:
        for handle in handles:
            handle.remove()
    return dict(sorted(watch.shares().items(), key=lambda item: -item[1]))


def kind(module: nn.Module) -> str:
    """What a module's own time is filed under; its class's name where that says it."""
    if isinstance(module, SequenceAttention):
        return AXES[module.axis]
    name = type(module).__name__
    return KINDS.get(name, name)


def snr_by_stem(reference: Tensor, output: Tensor, stems: tuple[str, ...]) -> dict[str, float]:
    """10·log10(Σ r² / Σ (r − o)²) in dB of outputs (b, s, c, t) by stem, within ±150 dB; silence equals silence."""
    wide = reference.double()
    signal = wide.square().sum(dim=(0, 2, 3))
    error = (wide - output.double()).square().sum(dim=(0, 2, 3))
    ratio = (10 * (signal / error).log10()).nan_to_num(nan=LARGEST).clamp(-LARGEST, LARGEST)
    return dict(zip(stems, ratio.tolist(), strict=True))
