"""How near the files of `tfswa export` are to torch, how large they are, and what they take to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from tfswa_unet import models
from tfswa_unet.bench.results import Results, recorded, tell
from tfswa_unet.bench.settings import ExportsSetting
from tfswa_unet.bench.subject import check_model, set_up
from tfswa_unet.bundle import load_model
from tfswa_unet.errors import unknown
from tfswa_unet.export.exporter import LIVE, WRITERS, Request, describe
from tfswa_unet.export.graphs import require_onnx
from tfswa_unet.export.int8 import METHODS, calibration, write_int8
from tfswa_unet.export.parity import music, snr
from tfswa_unet.inference.stream import has_stream

SEED = 0  # of weights that are drawn here
ODD = (1, 1_023, 12_345, 88_211, 264_601)  # samples: one, less than a window, and lengths that nothing divides
LONG_SECONDS = 60.0
BATCHES = (1, 3)
INT8 = "onnx-int8"
DEFAULT_TARGETS = tuple(target for target in WRITERS if target != "tensorrt")


def measure(setting: ExportsSetting) -> dict[str, Any]:
    """Write each model for each target that has no result in the file yet; gives what the file then holds.

    The weights of presets are drawn from a fixed seed. Raises ConfigError for unknown targets, where what writes ONNX
    is not installed, or for a file of other results.
    """
    names, targets = setting.models or models.names(), setting.targets or DEFAULT_TARGETS
    for name in names:
        check_model(name)
    for target in targets:
        if target not in WRITERS:
            raise unknown("target in --targets", target, WRITERS)
    if any(WRITERS[target].needs_onnx for target in targets):
        require_onnx()
    set_up(setting.threads)
    results = Results(Path(setting.out), {"torch": torch.__version__, "long_seconds": LONG_SECONDS})
    ways = [way for target in targets for way in _ways(target)]
    for name in names:
        wanted = [way for way in ways if f"{name} {way}" not in results.records]
        if wanted:
            _measure_model(name, wanted, results)
    return results.to_dict()


def _ways(target: str) -> list[str]:
    return [f"{target} {method}" for method in METHODS] if target == INT8 else [target]


def _measure_model(name: str, ways: Sequence[str], results: Results) -> None:
    torch.manual_seed(SEED)
    model = load_model(name, allow_random=True)
    if name in models.names():
        wake(model)
    ways = [way for way in ways if way != LIVE or has_stream(model)]
    given = mixtures(model.rate, model.channels)

    @cache
    def expected(batch: int, length: int) -> Tensor:
        with torch.inference_mode():
            return model(given(batch, length))

    def compare(run: Callable[[Tensor], Tensor], sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
        found = {}
        for batch, length in sizes:
            try:
                found[f"{batch} × {length}"] = snr(expected(batch, length), run(given(batch, length)))
            except Exception as error:  # what each runtime raises for want of memory is of many kinds
                if not found:
                    raise
                tell(f"{name}: {batch} × {length} left out: {str(error)[:100]}")
        return found

    with TemporaryDirectory() as folder:
        for way in ways:
            work = partial(_measure_file, name, model, way, Path(folder), compare)
            record = recorded(f"{name} {way}", work)
            results.add(f"{name} {way}", {"model": name, "target": way, **record})
            tell(f"{name} {way}: {record.get('db', record['status'])}")


def _measure_file(name: str, model: Any, way: str, folder: Path, compare: Callable[..., Any]) -> Mapping[str, Any]:
    """Write a model in one way, `target` or `onnx-int8 METHOD`, into a folder, and compare it with torch."""
    kind, _, method = way.partition(" ")
    target = WRITERS[kind]
    facts = describe(Request(name, folder, kind), model)
    path, full = folder / f"model{target.ending}", folder / "model.onnx"
    start = _processor_seconds()
    if not method:
        target.write(path, model, facts)
    else:
        if not full.exists():
            target.write(full, model, facts)
        pieces = calibration(None, model.rate, model.channels) if method == METHODS[0] else []
        start = _processor_seconds()  # of what INT8 takes after that
        write_int8(path, full, method, pieces, facts)
    seconds = _processor_seconds() - start
    # The stems of INT8 are meant to differ, as much at one length as at another.
    wanted = [(1, ODD[-1])] if method else [(1, facts["samples"])] if target.fixed else sizes(model.rate)
    db = compare(target.load(path), wanted)
    return {"bytes": path.stat().st_size, "processor_seconds": seconds, "db": db}


def _processor_seconds() -> float:
    """Of this process and of those that it waited for, such as a compiler."""
    return sum(os.times()[:4])


def sizes(rate: int) -> list[tuple[int, int]]:
    """Batches and lengths (b, t) that files are compared at; the long one by itself, as three would fill the memory."""
    return [(batch, length) for length in ODD for batch in BATCHES] + [(1, int(LONG_SECONDS * rate))]


def mixtures(rate: int, channels: int) -> Callable[[int, int], Tensor]:
    """Music (b, c, t) by batch and length, each of a batch from another place of one synthetic song."""
    song = music(SEED, LONG_SECONDS + 2 * max(BATCHES), rate, channels)[1]

    def given(batch: int, length: int) -> Tensor:
        starts = (rate + 2 * rate * each for each in range(batch))
        return torch.stack([song[:, start : start + length] for start in starts])

    return given


def wake(model: nn.Module) -> None:
    """Draw weights that begin as zero, so that what they multiply is heard in the stems, as after training."""
    for weight in model.parameters():
        if weight.dim() > 1 and not weight.any():
            nn.init.normal_(weight, std=0.1)
