"""The models that can be named: those that come with the package, and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from tfswa_unet import models
from tfswa_unet.bundle import load_model, read_facts
from tfswa_unet.bundles import DEFAULT_MODEL, packaged
from tfswa_unet.catalogue.origin import Origin


@dataclass(frozen=True)
class Listed:
    """A model that can be named, as `tfswa models` shows it."""

    name: str
    kind: Literal["trained", "preset"]  # a preset has no weights
    default: bool  # what separates where no model is named
    parameters: int
    megabytes: float  # the file's; of a preset, its weights in fp32
    stems: tuple[str, ...]  # of a preset, those that it has where training chooses no others
    validation_sdr: float | None  # dB
    sources: int | None  # how many it was trained on
    licences: tuple[str, ...]  # of the sources


def listed() -> list[Listed]:
    """All models that can be named, trained ones first.

    Raises:
        ModelError: for a model of the package that is damaged.
    """
    trained = [_trained(name, path) for name, path in packaged().items()]
    return trained + [_preset(name) for name in models.names()]


def _trained(name: str, path: Path) -> Listed:
    model, origin = load_model(path), Origin.from_facts(read_facts(path))
    return Listed(
        name,
        "trained",
        default=name == DEFAULT_MODEL,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        megabytes=round(path.stat().st_size / 1e6, 1),
        stems=model.stems,
        validation_sdr=origin.validation_sdr,
        sources=len(origin.sources) or None,
        licences=tuple(origin.licences),
    )


def _preset(name: str) -> Listed:
    with torch.device("meta"):  # without memory for its weights
        model = models.build(models.preset(name))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Listed(name, "preset", False, parameters, round(parameters * 4 / 1e6, 1), model.stems, None, None, ())
