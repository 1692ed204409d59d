"""Layers in a row whose activations can be recomputed instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Chain(nn.Sequential):
    """Layers of one input and one output in a row.

    With `checkpointing`, training keeps the input of each layer only and runs it again in the backward pass: less
    memory for one more forward pass, the same gradients and running statistics. Source: arXiv 1604.06174.
    """

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, use_reentrant=False, context_fn=partial(_contexts, layer))
            else:
                x = layer(x)
        return x


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the forward pass of a checkpointed layer, and its recomputation."""
    return nullcontext(), _statistics_left_alone(layer)


@contextmanager
def _statistics_left_alone(layer: nn.Module) -> Iterator[None]:
    """Keep the batch norms of a layer from counting a batch twice because it is computed twice."""
    kept = [
        (norm, norm.momentum, norm.num_batches_tracked)
        for norm in layer.modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked is not None
    ]
    for norm, _, count in kept:
        # Without running statistics at all the recomputation would save other tensors than the forward pass did.
        norm.momentum, norm.num_batches_tracked = 0.0, count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count
