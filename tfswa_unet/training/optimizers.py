"""Optimizers by name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from tfswa_unet.errors import ConfigError, unknown

OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam}


def make_optimizer(config: dict[str, Any], model: nn.Module) -> Optimizer:
    """An optimizer over a model's parameters; weight decay spares biases and norms.

    Args:
        config: `name`, `lr`, and whatever else torch's optimizer takes.
        model: whose parameters are trained.

    Raises:
        ConfigError: for an unknown name, argument or value.
    """
    options = dict(config)
    name = options.pop("name")
    decay = options.pop("weight_decay", 0.0)
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    try:
        return OPTIMIZERS[name](groups, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer.{name}: {error}") from None
