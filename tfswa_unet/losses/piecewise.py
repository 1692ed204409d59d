"""Distances between waveforms that take a few signals at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.dsp import pieces

Distance = Callable[[Tensor, Tensor], Tensor]


def piecewise(distance: Distance, estimate: Tensor, target: Tensor) -> Tensor:
    """The mean of a distance over signals, its gradient computed along with it.

    What a distance makes of its signals, spectrograms four times their size, is gone before the next piece begins:
    it stays in the processor's caches, and memory never holds it for all of them.

    Args:
        distance: maps signals (k, t) and (k, t) to the mean over them, differentiable in the first.
        estimate: (..., t); gets a gradient.
        target: of the same shape; gets none.
    """
    return _Piecewise.apply(estimate, target, distance)


class _Piecewise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, distance: Distance) -> Tensor:
        signals, truths = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        gradient = torch.empty_like(signals) if ctx.needs_input_grad[0] else None
        total = estimate.new_zeros((), dtype=torch.float64)
        for piece in pieces(signals):
            part = signals[piece].detach().requires_grad_(gradient is not None)
            with torch.set_grad_enabled(gradient is not None):
                share = distance(part, truths[piece]) * (len(part) / len(signals))
            total += share.detach()
            if gradient is not None:
                (gradient[piece],) = torch.autograd.grad(share, part)
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return total.to(estimate.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None
