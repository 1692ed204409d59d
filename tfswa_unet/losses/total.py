"""The weighted sum of named terms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.losses.signals import Signals
from tfswa_unet.losses.terms import TERMS


class WeightedLoss:
    """Sum of terms from `TERMS`, each by its weight, in float32.

    Args:
        terms: name → {"weight": number, …arguments of the term}; a weight of 0 leaves the term out.

    Raises:
        ConfigError: for an unknown term or argument, or when nothing is left to minimise.
    """

    def __init__(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        self.terms: dict[str, tuple[float, dict[str, Any]]] = {}
        for name, options in terms.items():
            if name not in TERMS:
                raise unknown("loss", name, TERMS)
            arguments = dict(options)
            weight = float(arguments.pop("weight", 1.0))
            allowed = list(inspect.signature(TERMS[name]).parameters)[2:]
            surplus = sorted(set(arguments) - set(allowed))
            if surplus:
                raise ConfigError(
                    f"loss.{name} got unknown {', '.join(surplus)}: it takes weight{''.join(', ' + a for a in allowed)}"
                )
            if weight:
                self.terms[name] = (weight, arguments)
        if not self.terms:
            raise ConfigError("the loss has no term with a weight: set loss.waveform_l1.weight=1, for instance")

    def __call__(self, estimate: Signals, target: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each unweighted term under its name."""
        with torch.autocast(target.waveform.device.type, enabled=False):
            parts = {name: TERMS[name](estimate, target, **options) for name, (_, options) in self.terms.items()}
        total = torch.stack([self.terms[name][0] * part for name, part in parts.items()]).sum()
        return total, {name: part.detach() for name, part in parts.items()}
