"""Models of bundle format 1, and checkpoints of that time, as today's networks take them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

# Each attention of a TFSWA block had a projection of its own; those of the paper's modules belonged to the attention.
OF_BLOCK = ".attention.tsa.qkv.weight"
COUNTS = ".num_batches_tracked"  # of batch norms
OF_MODULE = re.compile(r"^(?!.*\.blocks\.)(.+)\.attention\.qkv\.(weight|bias)$")


def is_earlier(names: Iterable[str]) -> bool:
    """Whether weights of these names are of format 1."""
    return any(name.endswith((OF_BLOCK, COUNTS)) or OF_MODULE.match(name) for name in names)


def as_today(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of format 1, or of today, as today's; the outputs are the same up to rounding.

    Projections that followed each other without anything between them become their product.
    """
    config, weights = dict(config), {name: value for name, value in weights.items() if not name.endswith(COUNTS)}
    if config.get("architecture") == "tfswa_resunet":
        config["network"] = {"residual": False, **config["network"]}
    for name in list(weights):
        if name.endswith(OF_BLOCK):
            block = name.removesuffix(OF_BLOCK)
            (_join_parallel if f"{block}.attention.fuse.weight" in weights else _move_serial)(weights, block)
        elif moved := OF_MODULE.match(name):
            weights[f"{moved[1]}.qkv.{moved[2]}"] = weights.pop(name)
    return config, weights


def _join_parallel(weights: dict[str, Tensor], block: str) -> None:
    first, offset = (weights.pop(f"{block}.project_in.{kind}").double() for kind in ("weight", "bias"))
    each = [
        [weights.pop(f"{block}.attention.{part}.qkv.{kind}").double() for part in ("tsa", "fsa", "swa")]
        for kind in ("weight", "bias")
    ]
    weight, bias = (torch.cat(parts) for parts in each)
    weights[f"{block}.attention.qkv.weight"] = (weight @ first).float()
    weights[f"{block}.attention.qkv.bias"] = (weight @ offset + bias).float()


def _move_serial(weights: dict[str, Tensor], block: str) -> None:
    for kind in ("weight", "bias"):
        weights[f"{block}.attention.project_in.{kind}"] = weights.pop(f"{block}.project_in.{kind}")
        for number, part in enumerate(("tsa", "fsa", "swa")):
            old = f"{block}.attention.{part}.qkv.{kind}"
            weights[f"{block}.attention.qkv.{number}.{kind}"] = weights.pop(old)
