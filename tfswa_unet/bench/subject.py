"""The model that is measured, where it runs and with how many bits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tfswa_unet import models, processes
from tfswa_unet.bench.settings import ModelSetting
from tfswa_unet.bundle import load_model, read_facts
from tfswa_unet.config import choice
from tfswa_unet.inference.exported import READERS, ExportedModel, cpu_options, load_exported
from tfswa_unet.inference.precision import Precision, pick_device, pick_precision
from tfswa_unet.processes import device_name, keep_pages
from tfswa_unet.songs import synthesize

BF16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them on x86 and on Arm
RATE, CHANNELS = 44_100, 2  # of songs that are made
SHORTEST = 1.0  # s, of a synthetic song


@dataclass(frozen=True)
class Subject:
    """A model ready to be measured on a device."""

    name: str
    model: Any
    device: torch.device
    precision: Precision

    @property
    def exported(self) -> bool:
        """Whether the model is a graph out of a file of `tfswa export`, which torch cannot look into."""
        return isinstance(self.model, ExportedModel)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the model runs at its precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def facts(self) -> dict[str, Any]:
        """What every benchmark of a model says beside its numbers."""
        return {
            "model": self.name,
            "trained": self.name not in models.names(),  # a preset's weights are random
            "parameters": None if self.exported else sum(each.numel() for each in self.model.parameters()),
            "stems": len(self.model.stems),
            "device": str(self.device),
            "device_name": device_name(self.device),
            "precision": self.precision,
            "emulated": emulated(self.precision, self.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }


def set_up(threads: int | None, keep: bool = True) -> bool:
    """Set the process up as the other commands do; gives whether memory is kept, see `processes.keep_pages`."""
    if threads:
        torch.set_num_threads(threads)
    return keep and keep_pages()


def prepare(setting: ModelSetting) -> Subject:
    """Load a model and set the process up as the other commands do; raises ConfigError and ModelError as they do."""
    if Path(setting.model).suffix in READERS:
        cpu_options({"device": setting.device, "precision": setting.precision})
        set_up(setting.threads)
        return Subject(setting.model, load_exported(setting.model), torch.device("cpu"), "fp32")
    device = pick_device(setting.device)
    precision = pick_precision(setting.precision, device)
    set_up(setting.threads)
    return Subject(setting.model, load_model(setting.model, device, allow_random=True), device, precision)


def check_model(name: str) -> None:
    """Refuse a model that is not there before others of the same run are measured; raises ModelError."""
    if Path(name).suffix in READERS:
        load_exported(name)
    elif name not in models.names():
        read_facts(name)


def as_in_training(key: str, given: Any = None) -> Any:
    """What was given, or else what conf/data says for training, such as "seconds" or "batch_size"."""
    return choice("data", "musdb18hq")[key] if given is None else given


def emulated(precision: str, device: torch.device) -> bool | None:
    """Whether arithmetic of this precision is done by other units of the device; None where that cannot be told."""
    if precision == "fp32":
        return False
    if device.type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not processes.CPU_FACTS.is_file():
        return None
    return not BF16_UNITS & set(processes.CPU_FACTS.read_text().split())


def mixtures(batch: int, channels: int, seconds: float, rate: int) -> Tensor:
    """A synthetic song (b, c, t) at `rate` Hz, each example of the batch from another moment on."""
    song = np.sum(list(synthesize(0, max(seconds, SHORTEST), rate).values()), axis=0)
    song = song[:, : max(1, round(seconds * rate))]
    wide = np.stack([song[channel % len(song)] for channel in range(channels)])
    shifts = (example * wide.shape[1] // batch for example in range(batch))
    return torch.from_numpy(np.stack([np.roll(wide, shift, axis=1) for shift in shifts]).astype(np.float32))
