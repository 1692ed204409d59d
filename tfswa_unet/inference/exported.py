"""Exported models as separation takes them: ONNX files run by onnxruntime, PT2 programs and TorchScript by torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError, ModelError
from tfswa_unet.models import ModelStream
from tfswa_unet.processes import environment

METADATA_KEY = "tfswa"  # of an ONNX file's metadata; in archives of torch the file of that name
FORMAT_VERSION = 1
TENSORS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own switch
MACHINE_CODE = "aotinductor"  # folder of an archive of torch
INPUT, OUTPUT = "mixture", "stems"
# Of files of one frame: the mixture's, how many have been, and what names begin with of what the next frame is given.
FRAME, SEEN, NEXT = "spectrum", "seen", "next."
KINDS = {"tensor(float)": np.float32, "tensor(int64)": np.int64}  # as onnxruntime calls them
ON_THE_CPU = {"device": "cpu", "precision": "fp32", "compile": False}

Run = Callable[[Tensor], Tensor]


class ExportedModel:
    """A model out of a file that holds its graph: mixtures (b, c, t) to stems (b, s, c, t), on the CPU.

    Args:
        facts: what the file says of the model: `stems`, `rate`, `channels`, `target` and more.
        run: computes the graph.
    """

    def __init__(self, facts: Mapping[str, Any], run: Run) -> None:
        self.facts = dict(facts)
        self.stems = tuple(facts["stems"])
        self.rate, self.channels = int(facts["rate"]), int(facts["channels"])
        self._run = run

    def __call__(self, mixture: Tensor) -> Tensor:
        return self._run(mixture)


class ExportedFrames(ExportedModel):
    """A real-time model out of a file that holds one frame of it; see `RealtimeModel`.

    Args:
        facts: as for `ExportedModel`, with `n_fft` and `hop`.
        frame: what computes a frame.
    """

    def __init__(self, facts: Mapping[str, Any], frame: FrameRun) -> None:
        super().__init__(facts, self._whole)
        self.latency, self.hop = int(facts["n_fft"]), int(facts["hop"])
        self._frame = frame

    def stream(self) -> ModelStream:
        """Separate mixtures that come in blocks, side by side."""
        return ModelStream(self.latency, self.hop, len(self.stems), self._frames, list)

    def _frames(self, spectrum: Tensor, memory: list[dict[str, Any]]) -> Tensor:
        memory += [self._frame.before() for _ in range(len(memory), len(spectrum))]
        given = torch.view_as_real(spectrum).numpy()
        found = np.empty((len(given), len(self.stems), *given.shape[1:]), np.float32)
        for mixture, kept in enumerate(memory):
            for frame in range(given.shape[2]):
                part = given[mixture : mixture + 1, :, frame : frame + 1]
                found[mixture, :, :, frame : frame + 1] = self._frame(part, kept)[0]
        return torch.view_as_complex(torch.from_numpy(found))

    def _whole(self, mixture: Tensor) -> Tensor:
        with self.stream() as stream:
            return torch.cat([stream.push(mixture), stream.finish()], dim=-1)


class FrameRun:
    """One frame in onnxruntime: spectra (1, c, 1, f, 2) to the stems' (1, s, c, 1, f, 2)."""

    def __init__(self, session: Any) -> None:
        from onnxruntime import OrtValue

        self._session, self._value = session, OrtValue.ortvalue_from_numpy
        self._nothing = {
            each.name: np.zeros(each.shape, KINDS[each.type]) for each in session.get_inputs() if each.name != FRAME
        }
        self._names = [OUTPUT, *(f"{NEXT}{name}" for name in self._nothing)]

    def before(self) -> dict[str, Any]:
        """What is kept before the first frame."""
        return {name: self._value(zeros) for name, zeros in self._nothing.items()}

    def __call__(self, spectrum: np.ndarray, kept: dict[str, Any]) -> np.ndarray:
        """Compute the next frame; what is `kept` is brought up to it."""
        given = {FRAME: self._value(np.ascontiguousarray(spectrum)), **kept}
        # What is kept stays in the runtime, whose own copies to NumPy take as long as the smaller layers.
        stems, *following = self._session.run_with_ort_values(self._names, given)
        kept.update(zip(kept, following, strict=True))
        return stems.numpy()  # type: ignore[no-any-return]


def load_exported(path: str | Path) -> ExportedModel:
    """Load a file that `tfswa export` made; it runs with as many threads as torch has.

    Raises:
        ModelError: for a file that is missing, damaged, or not made by `tfswa export`.
        ConfigError: where onnxruntime is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file: check the path")
    try:
        text, run = READERS[path.suffix](path)
    except ConfigError:
        raise
    except Exception as error:  # what each runtime raises for a broken file is of many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{path} cannot be loaded ({reason[:160]}): it is damaged or of another kind, export the model again"
        ) from error
    try:
        facts = json.loads(text)
        return ExportedFrames(facts, run) if isinstance(run, FrameRun) else ExportedModel(facts, run)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} does not say which stems it gives: only files made by `tfswa export` can be used here"
        ) from error


def cpu_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A separator's options as an exported model needs them: on the CPU, with the numbers that the file has.

    Raises:
        ConfigError: where something else is asked for.
    """
    for name, value in ON_THE_CPU.items():
        given = options.get(name)
        if given is not None and str(given) not in ("auto", str(value)):
            raise ConfigError(
                f"{name}={given}: an exported model runs on the CPU with the precision of its file: leave it out, "
                "or use the bundle that it was exported from"
            )
    return {**options, **ON_THE_CPU}


def onnx_session(path: Path, threads: int) -> Any:
    """An onnxruntime session of a file on the CPU.

    Raises:
        ConfigError: where onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "onnxruntime is not installed, and ONNX files need it: pip install 'tfswa-unet[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _read_onnx(path: Path) -> tuple[str, Run | FrameRun]:
    session = onnx_session(path, torch.get_num_threads())
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
    if FRAME in [each.name for each in session.get_inputs()]:
        return text, FrameRun(session)

    def run(mixture: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: mixture.numpy()})[0])

    return text, run


def _read_program(path: Path) -> tuple[str, Run]:
    # torch would run these at once, as the libraries that they are.
    if any(MACHINE_CODE in record for record in torch._C.PyTorchFileReader(str(path)).get_all_records()):
        raise ValueError("it holds machine code, which is not run here")
    extra = {METADATA_KEY: ""}
    # Nothing but tensors: torch's reader of programs would unpickle whatever a file holds.
    with environment(**{TENSORS_ONLY: "1"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for developers of torch
        program = torch.export.load(path, extra_files=extra)
    # Its guards hold for the batch and length that it was traced with; that it is right for others, its export checked.
    return extra[METADATA_KEY], program.module(check_guards=False)


def _read_script(path: Path) -> tuple[str, Run]:
    extra: dict[str, Any] = {METADATA_KEY: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        script = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    text = extra[METADATA_KEY]
    return text.decode() if isinstance(text, bytes) else text, script


# By the endings of their files' names.
READERS: dict[str, Callable[[Path], tuple[str, Run | FrameRun]]] = {
    ".onnx": _read_onnx,
    ".pt2": _read_program,
    ".pt": _read_script,
}
