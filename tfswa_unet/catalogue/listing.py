"""The models that can be named: those that come with the package, those in the cache, and the presets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from tfswa_unet import models
from tfswa_unet.bundle import load_model, read_facts
from tfswa_unet.bundles import DEFAULT_MODEL, packaged
from tfswa_unet.bundles.remote import cached
from tfswa_unet.catalogue.origin import AVERAGE, MODEL, Origin
from tfswa_unet.errors import UserError

log = logging.getLogger(__name__)
WEIGHTS = (".safetensors", ".ckpt")  # and no exported files


@dataclass(frozen=True)
class Listed:
    """A model that can be named, as `tfswa models` shows it."""

    name: str
    kind: Literal["trained", "cached", "preset"]  # of the package; fetched from elsewhere; a preset has no weights
    default: bool  # what separates where no model is named
    parameters: int
    megabytes: float  # the file's; of a preset, its weights in fp32
    stems: tuple[str, ...]  # of a preset, those that it has where training chooses no others
    validation_sdr: float | None  # dB, in training
    test_sdr: float | None  # dB, average of its stems in the evaluation that it records
    sources: int | None  # how many it was trained on
    licences: tuple[str, ...]  # of the sources


def listed() -> list[Listed]:
    """All models that can be named, trained ones first; what the cache holds and cannot be used is logged and left out.

    Raises:
        ModelError: for a model of the package that is damaged.
    """
    trained = [_trained(name, path, "trained") for name, path in packaged().items()]
    return trained + _cached() + [_preset(name) for name in models.names()]


def _cached() -> list[Listed]:
    found = []
    try:
        weights = {name: path for name, path in cached().items() if path.suffix in WEIGHTS}
        for name, path in weights.items():
            try:
                found.append(_trained(name, path, "cached"))
            except UserError as error:
                log.warning("%s is left out: %s", name, error)
    except UserError as error:
        log.warning("the Hub's models are left out: %s", error)
    return found


def _trained(name: str, path: Path, kind: Literal["trained", "cached"]) -> Listed:
    model, origin = load_model(path), Origin.from_facts(read_facts(path))
    scores = origin.evaluation.scores.get(MODEL, {}) if origin.evaluation else {}
    return Listed(
        name,
        kind,
        default=name == DEFAULT_MODEL,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        megabytes=round(path.stat().st_size / 1e6, 1),
        stems=model.stems,
        validation_sdr=origin.validation_sdr,
        test_sdr=scores.get(AVERAGE),
        sources=len(origin.sources) or None,
        licences=tuple(origin.licences),
    )


def _preset(name: str) -> Listed:
    with torch.device("meta"):  # without memory for its weights
        model = models.build(models.preset(name))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Listed(
        name,
        "preset",
        default=False,
        parameters=parameters,
        megabytes=round(parameters * 4 / 1e6, 1),
        stems=model.stems,
        validation_sdr=None,
        test_sdr=None,
        sources=None,
        licences=(),
    )
