"""Where the model runs, and with how many bits."""

from __future__ import annotations

from typing import Literal

import torch

from tfswa_unet.errors import ConfigError

Precision = Literal["fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else the CPU.

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
    """The precision of that name; "auto" is bf16 on hardware that multiplies it faster than fp32.

    Raises:
        ConfigError: for an unknown name.
    """
    if name == "auto":
        return "bf16" if _fast_bf16(device) else "fp32"
    if name == "fp32":
        return "fp32"
    if name == "bf16":
        return "bf16"
    raise ConfigError(f"unknown precision {name!r}: expected one of {', '.join(PRECISIONS)}")


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Only matrix tiles (AMX) make it worth while on a CPU; elsewhere bf16 is emulated or no faster.
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device.type == "cpu" and tiles is not None and bool(tiles())
