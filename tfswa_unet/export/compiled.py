"""Machine code of a model: for this processor by AOTInductor, for this GPU by TensorRT."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError, ModelError
from tfswa_unet.export.graphs import quiet, require_onnx, write_onnx
from tfswa_unet.inference.exported import INPUT, METADATA_KEY, OUTPUT


def write_aoti(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write a model as a library of this kind of processor, for one segment of `facts["samples"]` samples at a time.

    Source: AOTInductor, which torch loads without this package (`torch._inductor.aoti_load_package`) and libtorch
    without Python.

    Raises:
        ConfigError: where there is no C++ compiler.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        raise ConfigError("no C++ compiler is installed, and --to aoti needs one: install g++ or clang++") from error
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(1, model.channels, facts["samples"], generator=generator)
    with quiet(), torch.no_grad():
        program = torch.export.export(model.in_real_numbers(), (example,), strict=False)
        options = {"aot_inductor.metadata": {METADATA_KEY: json.dumps(facts)}}
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)


def load_aoti(path: Path) -> Callable[[Tensor], Tensor]:
    """Load what `write_aoti` wrote, as what maps mixtures (1, c, t) to stems (1, s, c, t); it runs the file's code."""
    from torch._inductor import aoti_load_package

    with quiet():
        return aoti_load_package(str(path))


def write_engine(path: Path, model: Any, facts: Mapping[str, Any]) -> None:
    """Write a model as a TensorRT engine of this kind of GPU, in fp32, for one segment of `facts["samples"]` at a time.

    The engine is built from the model's ONNX file.

    Raises:
        ConfigError: where TensorRT, ONNX or a GPU is missing.
        ModelError: where TensorRT cannot build it.
    """
    trt = require_tensorrt()
    require_onnx()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    with TemporaryDirectory() as folder:
        write_onnx(Path(folder) / "model.onnx", model, facts)
        if not parser.parse((Path(folder) / "model.onnx").read_bytes()):
            raise ModelError(f"TensorRT cannot read the model's graph ({parser.get_error(0)}): use --to onnx")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # whose ten bits would cost the parity
    profile = builder.create_optimization_profile()
    shape = (1, model.channels, facts["samples"])
    profile.set_shape(INPUT, shape, shape, shape)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ModelError("TensorRT cannot build an engine of the model on this GPU: use --to onnx")
    path.write_bytes(bytes(engine))


def load_engine(path: Path) -> Callable[[Tensor], Tensor]:
    """Load what `write_engine` wrote, as what maps mixtures (1, c, t) to stems (1, s, c, t), on the GPU.

    Raises:
        ConfigError: where TensorRT or a GPU is missing.
    """
    trt = require_tensorrt()
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()

    def run(mixture: Tensor) -> Tensor:
        given = mixture.cuda().contiguous()
        context.set_input_shape(INPUT, tuple(given.shape))
        stems = torch.empty(tuple(context.get_tensor_shape(OUTPUT)), device=given.device)
        context.set_tensor_address(INPUT, given.data_ptr())
        context.set_tensor_address(OUTPUT, stems.data_ptr())
        stream = torch.cuda.current_stream()
        context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return stems.cpu()

    return run


def require_tensorrt() -> Any:
    """The package tensorrt; refuses where it is not installed or there is no GPU for it: raises ConfigError."""
    try:
        import tensorrt
    except ImportError as error:
        raise ConfigError(
            "tensorrt is not installed, and --to tensorrt needs it and an NVIDIA GPU: pip install tensorrt, or use "
            "--to onnx"
        ) from error
    if not torch.cuda.is_available():
        raise ConfigError("--to tensorrt builds an engine of the GPU that is there, and there is none: use --to onnx")
    return tensorrt
