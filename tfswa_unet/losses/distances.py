"""Distances between estimated and true signals, with gradients of their own that a few signals at a time fill."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.dsp import pieces

TINY = 1e-10  # added to |X|², so that silence has a gradient

# The share of some rows of estimate and target in a distance; writes its gradient to the third argument, where given.
Share = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two waveforms.

    Args:
        estimate: (..., t); gets a gradient.
        target: of the same shape; gets none.
    """
    return _Distance.apply(estimate, target, partial(_waveform_share, count=estimate.numel()))


def magnitude_distance(estimate: Tensor, target: Tensor, linear: float, logarithmic: float, floor: float) -> Tensor:
    """Mean of linear · ||E| − |T|| + logarithmic · |ln(|E| + floor) − ln(|T| + floor)| over two complex spectrograms.

    Args:
        estimate: complex (..., n, f); gets a gradient.
        target: complex of the same shape; gets none.
        linear: weight of the difference of magnitudes.
        logarithmic: weight of the difference of their logarithms, which is Δ dB / 8.69.
        floor: what is added to magnitudes under the logarithm.
    """
    count = estimate.numel()
    share = partial(_magnitude_share, linear=linear / count, logarithmic=logarithmic / count, floor=floor)
    return _Distance.apply(estimate, target, share)


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, share: Share) -> Tensor:
        rows, truths = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        gradient = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        total = estimate.real.new_zeros((), dtype=torch.float64)
        for piece in pieces(rows):
            total += share(rows[piece], truths[piece], None if gradient is None else gradient[piece])
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return total.to(estimate.real.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


def _waveform_share(estimate: Tensor, target: Tensor, gradient: Tensor | None, count: int) -> Tensor:
    difference = estimate - target
    if gradient is not None:
        torch.sign(difference, out=gradient).div_(count)
    return difference.abs_().sum().double() / count


def _magnitude_share(
    estimate: Tensor, target: Tensor, gradient: Tensor | None, linear: float, logarithmic: float, floor: float
) -> Tensor:
    ours, theirs = _magnitude(estimate), _magnitude(target)
    difference = ours - theirs
    # d|E| / dE points along E; both parts grow where |E| > |T|, for the logarithm rises with its argument.
    slope = difference.sign()
    total = linear * difference.abs_().sum()
    if logarithmic:
        raised = ours + floor
        slope.mul_((logarithmic / raised).add_(linear))
        total = total + logarithmic * raised.div_(theirs.add_(floor)).log_().abs_().sum()
    else:
        slope.mul_(linear)
    if gradient is not None:
        torch.mul(estimate, slope.div_(ours), out=gradient)
    return total


def _magnitude(spectrum: Tensor) -> Tensor:
    squares = torch.view_as_real(spectrum).square()
    return (squares[..., 0] + squares[..., 1]).add_(TINY).sqrt_()
