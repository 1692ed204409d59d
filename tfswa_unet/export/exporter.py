"""From a model to a file that needs no training code: written, compared with torch, and only then put in place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

import tfswa_unet
from tfswa_unet.bundle import find_model, load_model, model_name, read_facts
from tfswa_unet.catalogue import Origin
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.export import compiled, graphs
from tfswa_unet.export.int8 import METHODS, MOST_LOSS, Price, calibration, price, write_int8
from tfswa_unet.export.parity import Parity, check_parity
from tfswa_unet.files import content_hash, replacing
from tfswa_unet.inference.exported import FORMAT_VERSION, load_exported
from tfswa_unet.inference.presets import OVERLAP_SECONDS, SEGMENT_SECONDS
from tfswa_unet.inference.stream import has_stream
from tfswa_unet.models import names


@dataclass(frozen=True)
class Target:
    """What a target is written by, what its files' names end in, what loads them, and whether their length is fixed."""

    write: Callable[..., None]
    ending: str
    load: Callable[[Path], Callable[[Tensor], Tensor]] = load_exported
    fixed: bool = False  # to one segment at a time

    @property
    def needs_onnx(self) -> bool:
        """Whether the file is written by what an export to ONNX needs."""
        return self.ending.endswith(".onnx")


LIVE = "onnx-live"
WRITERS: dict[str, Target] = {
    "onnx": Target(graphs.write_onnx, ".onnx"),
    "onnx-int8": Target(graphs.write_onnx, ".int8.onnx"),
    LIVE: Target(graphs.write_frame, ".live.onnx"),
    "torchscript": Target(graphs.write_script, ".pt"),
    "pt2": Target(graphs.write_program, ".pt2"),
    "aoti": Target(compiled.write_aoti, ".aoti.pt2", compiled.load_aoti, fixed=True),
    "tensorrt": Target(compiled.write_engine, ".engine", compiled.load_engine, fixed=True),
}
TARGETS = tuple(WRITERS)
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to export: a model, the folder, the target; for INT8 the method, its music, and whether any loss is taken.

    Raises:
        ConfigError: for an unknown target or method, or options of INT8 with another target.
    """

    model: str
    out: Path
    target: str
    int8: str | None = None  # a method; static where none is given
    calibrate: Path | None = None
    allow_loss: bool = False

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise unknown("target --to", self.target, TARGETS)
        if self.int8 not in (None, *METHODS):
            raise unknown("--int8", self.int8, METHODS)
        if self.target != "onnx-int8" and (self.int8 or self.calibrate or self.allow_loss):
            raise ConfigError("--int8, --calibrate and --allow-loss belong to --to onnx-int8: leave them out")
        if self.calibrate and self.int8 == "dynamic":
            raise ConfigError("--calibrate is for --int8 static: a dynamic quantisation takes no ranges from music")


@dataclass(frozen=True)
class Exported:
    """A file that was written, how near its stems are to torch's, and for INT8 its price."""

    path: Path
    parity: list[Parity]
    price: Price | None = None


def export(request: Request, on_step: OnStep = lambda step: None) -> Exported:
    """Export a model; the file appears only when it has stood its checks.

    Args:
        request: what to export.
        on_step: told what begins.

    Raises:
        ModelError: where the model cannot be loaded, or the file does not give its stems.
        ConfigError: where a package is missing, or INT8 costs more than `MOST_LOSS` dB and that is not allowed.
    """
    target = WRITERS[request.target]
    if target.needs_onnx:
        graphs.require_onnx()
    if request.target == "tensorrt":
        compiled.require_tensorrt()
    model = load_model(request.model, allow_random=True)
    if request.target == LIVE and not has_stream(model):
        raise ConfigError(
            f"--to {LIVE} is for real-time models, and {request.model} takes segments: give one that "
            "`python train.py model=tfswa_realtime` has trained, or leave --to out"
        )
    facts = describe(request, model)
    path = request.out / f"{model_name(request.model)}{target.ending}"
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        int8 = request.target == "onnx-int8"
        full = Path(stack.enter_context(TemporaryDirectory())) / "full.onnx" if int8 else temporary
        on_step("making the graph")
        target.write(full, model, facts)
        on_step("comparing it with torch on noise and music")
        parity = check_parity(model, target.load(full), length=facts.get("samples"))
        if not int8:
            return Exported(path, parity)
        method = request.int8 or "static"
        on_step("quantising")
        pieces = calibration(request.calibrate, model.rate, model.channels) if method == "static" else []
        write_int8(temporary, full, method, pieces, {**facts, "precision": f"int8 {method}"})
        on_step("measuring what that costs and gains")
        cost = price(model, full, temporary)
        if not cost.loss <= MOST_LOSS and not request.allow_loss:
            raise ConfigError(
                f"INT8 ({method}) costs {request.model} {cost.loss:.2f} dB of SDR on synthetic songs, at most "
                f"{MOST_LOSS:g} are taken: try the other --int8, --calibrate with music like yours, or --allow-loss; "
                "nothing was written"
            )
        return Exported(path, parity, cost)


def describe(request: Request, model: Any) -> dict[str, Any]:
    """What an exported file says of itself, as plain JSON values."""
    preset = request.model in names()
    source = None if preset else find_model(request.model)
    fixed = {"batch": 1, "samples": int(SEGMENT_SECONDS * model.rate)} if WRITERS[request.target].fixed else {}
    return {
        "format": FORMAT_VERSION,
        "target": request.target,
        "name": model.config.get("name"),
        "stems": list(model.stems),
        "sums_to_mixture": bool(model.config.get("sums_to_mixture")),
        "rate": model.rate,
        "channels": model.channels,
        "precision": "fp32",
        **fixed,
        "n_fft": model.model_config.n_fft,
        "hop": model.model_config.hop,
        "segment_seconds": SEGMENT_SECONDS,
        "overlap_seconds": OVERLAP_SECONDS,
        # Of the recordings that it was trained on, and how many have each; the weights of a preset are random.
        "licences": {} if preset else Origin.from_facts(read_facts(request.model)).licences,
        "source": None if source is None else {"file": source.name, "sha256": content_hash(source)},
        "version": tfswa_unet.__version__,
    }
