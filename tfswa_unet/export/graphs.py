"""Graphs of a model and the files that hold them: ONNX, programs of torch.export, TorchScript."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tfswa_unet.dsp import Parts
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.exported import FRAME, INPUT, METADATA_KEY, NEXT, OUTPUT, SEEN
from tfswa_unet.nn import FrameMemory

OPSET = 18  # which every runtime of the last three years reads
EXAMPLE_SECONDS = 3.0  # long enough that no axis is 1, which would be taken for a constant


def write_onnx(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write a model as an ONNX file of standard operators; batch and length are free.

    Raises:
        ConfigError: where onnx or onnxscript is not installed.
    """
    require_onnx()
    with quiet():
        program = torch.onnx.export(
            traced(model),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    axes = {INPUT: ("b", "c", "t"), OUTPUT: ("b", "s", "c", "t")}
    ends: list[Any] = [*program.model.graph.inputs, *program.model.graph.outputs]
    for value in ends:
        # Names in place of expressions of traced sizes; sizes that are known stay.
        sizes = zip(value.shape, axes[value.name], strict=True)
        value.shape = type(value.shape)(size if isinstance(size, int) else name for size, name in sizes)
    _save(program, path, facts)


def write_frame(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write one frame of a real-time model as an ONNX file of standard operators, for one mixture.

    Its inputs are the next frame's spectrum (1, c, 1, f, 2) in real numbers, how many frames have been, and what the
    layers keep of them, in the beginning zeros; its outputs are the stems' spectra (1, s, c, 1, f, 2), and the same of
    the next frame.

    Raises:
        ConfigError: where onnx or onnxscript is not installed.
    """
    require_onnx()
    frame = FrameGraph(model)
    kept = [f"past.{number}" for number in range(len(frame.layers))]
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            frame.eval(),
            frame.first(),
            dynamo=True,
            opset_version=OPSET,
            input_names=[FRAME, SEEN, *kept],
            output_names=[OUTPUT, *(f"{NEXT}{name}" for name in (SEEN, *kept))],
            verbose=False,
        )
    assert program is not None
    _save(program, path, facts)


def write_program(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write a model as a program of torch.export (.pt2), which torch loads without this package."""
    with quiet():
        program = traced(model)
        program.example_inputs = None  # larger than a small model's weights
        torch.export.save(program, path, extra_files={METADATA_KEY: json.dumps(facts)})


def write_script(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write a model as TorchScript, which libtorch loads without Python."""
    with quiet(), torch.no_grad():
        script = torch.jit.trace(model.in_real_numbers(), (_example(model),), check_trace=False)
        torch.jit.save(script, str(path), _extra_files={METADATA_KEY: json.dumps(facts)})


def traced(model: Any) -> ExportedProgram:
    """The graph of a model from mixtures (b, c, t) to stems (b, s, c, t), for any b and t."""
    sizes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC},)
    with torch.no_grad():
        program = torch.export.export(model.in_real_numbers(), (_example(model),), dynamic_shapes=sizes, strict=False)
    _allow_any_size(program)
    return program


def require_onnx() -> None:
    """Refuse where what ONNX files are written with is not installed; raises ConfigError."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise ConfigError(
                f"{package} is not installed, and an export to ONNX needs it: pip install 'tfswa-unet[onnx]'"
            ) from error


class FrameGraph(nn.Module):
    """One frame of a real-time model, whose memory is taken and given instead of kept."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, memory = model, _Given({})
        config = model.model_config
        self._silence = torch.zeros(1, config.channels, 1, config.n_fft // 2 + 1, 2)
        with torch.no_grad():
            model.frames(torch.view_as_complex(self._silence), memory)
        self.layers, self._nothing = list(memory.past), [torch.zeros_like(past) for past in memory.past.values()]

    def first(self) -> tuple[Tensor, ...]:
        """Arguments of the first frame, which is silent."""
        return self._silence, torch.zeros((), dtype=torch.long), *self._nothing

    def forward(self, spectrum: Tensor, seen: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        memory = _Given(dict(zip(self.layers, past, strict=True)), frames=seen)
        stems = self.model.frames(Parts(*spectrum.unbind(-1)), memory)
        assert isinstance(memory.frames, Tensor)
        return torch.stack([stems.real, stems.imag], -1), memory.frames, *(memory.past[each] for each in self.layers)


class _Given(FrameMemory):
    """Memory of a graph, where nothing is written over, and axes stay where they are."""

    def __init__(self, past: dict[nn.Module, Tensor], frames: int | Tensor = 0) -> None:
        super().__init__(frames)
        self.past = past

    def behind(self, layer: nn.Module, x: Tensor, count: int, axis: int) -> Tensor:
        before = self.past.get(layer)
        if before is None:
            before = x.new_zeros([count if i == axis else n for i, n in enumerate(x.shape)])
        both = torch.cat([before, x], dim=axis)
        self.past[layer] = both.narrow(axis, both.shape[axis] - count, count)
        return both


def _save(program: Any, path: Path, facts: Mapping[str, Any]) -> None:
    nodes: Sequence[Any] = list(program.model.graph)
    for node in nodes:
        # Where in the source each operation was traced: larger than a small model's weights, and of nobody's concern.
        for part in (node, *node.outputs):
            part.metadata_props.clear()
    program.model.metadata_props[METADATA_KEY] = json.dumps(facts)
    program.save(str(path), external_data=False)


def _example(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, model.channels, int(EXAMPLE_SECONDS * model.rate), generator=generator)


def _allow_any_size(program: ExportedProgram) -> None:
    """Take back that an axis is at least 2, which tracing assumes and nothing in the graph needs."""
    for symbol, allowed in program.range_constraints.items():
        program.range_constraints[symbol] = type(allowed)(1, allowed.upper)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep from users what the exporters tell their developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
