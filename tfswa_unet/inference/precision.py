"""The device that a model runs on, its precision, and its compilation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError
from tfswa_unet.types import StemModel

Precision = Literal["fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")
PARITY = 40.0  # dB that bf16 must keep to fp32 for "auto" to take it: far below what separation itself leaves


def pick_device(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: for a name torch does not know or a device this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {str(name)!r}: expected auto, cpu, cuda, cuda:N or mps") from error
    present = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, True):
        raise ConfigError(f"device {device} is not there on this machine: use device=auto or device=cpu")
    return device


def pick_precision(name: str, device: torch.device) -> Precision:
    """The precision of a name; "auto" is bf16 on hardware that multiplies it faster than fp32.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"unknown precision {name!r}: expected one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return "bf16" if fast_bf16(device) else "fp32"
    return cast(Precision, name)


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 faster than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Elsewhere CPUs emulate bf16, which is slower than fp32. torch tells of these units on Linux only.
    units = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return device.type == "cpu" and any(unit is not None and unit() for unit in units)


def parity(model: StemModel, device: torch.device, seconds: float = 1.0) -> float:
    """Signal-to-noise ratio of a model's stems in bf16 against fp32, dB, for noise with the spectrum of music.

    Args:
        model: on the device, in eval mode.
        device: where it is.
        seconds: length of the noise.
    """
    length = max(1, int(seconds * model.rate))
    spectrum = torch.fft.rfft(torch.randn(1, model.channels, length, generator=torch.Generator().manual_seed(0)))
    noise = torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[-1] + 1).sqrt(), length)
    mixture = (0.1 * noise / noise.std()).to(device)

    def stems(bf16: bool) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model(mixture).double()

    exact = stems(False)
    error = (stems(True) - exact).square().sum()
    return float(10 * (exact.square().sum() / error.clamp_min(1e-300)).log10())


def compile_network(model: Any, call: Callable[[], object]) -> None:
    """Compile a model's network in place with torch.compile, and make the first call, in which it is compiled.

    Args:
        model: whose `network` is compiled, or all of it where it has none.
        call: runs the model on inputs of the size to come.

    Raises:
        ConfigError: where torch cannot compile here, for instance without a C++ compiler.
    """
    getattr(model, "network", model).compile()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's advice to its developers
            call()
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"--compile: torch.compile failed here ({reason[:200]}): leave it out") from error
