"""Distances with gradients of their own: of magnitude spectrograms and of waveforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tfswa_unet.dsp import pieces

TINY = 1e-10  # added to |X|², so that silence has a gradient


def magnitude_distance(estimate: Tensor, target: Tensor, linear: float, logarithmic: float, floor: float) -> Tensor:
    """Mean of linear · ||E| − |T|| + logarithmic · |ln(|E| + floor) − ln(|T| + floor)| over two complex spectrograms.

    Args:
        estimate: complex (..., n, f); gets a gradient.
        target: complex of the same shape; gets none.
        linear: weight of the difference of magnitudes.
        logarithmic: weight of the difference of their logarithms, which is Δ dB / 8.69.
        floor: what is added to magnitudes under the logarithm.
    """
    return _MagnitudeDistance.apply(estimate, target, linear, logarithmic, floor)


class _MagnitudeDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, linear: float, logarithmic: float, floor: float) -> Tensor:
        frames, truths = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        gradient = torch.empty_like(frames) if ctx.needs_input_grad[0] else None
        weights = linear / estimate.numel(), logarithmic / estimate.numel(), floor
        total = estimate.real.new_zeros((), dtype=torch.float64)
        for piece in pieces(frames):
            total += _part(frames[piece], truths[piece], weights, None if gradient is None else gradient[piece])
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return total.to(estimate.real.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None, None


def _part(estimate: Tensor, target: Tensor, weights: tuple[float, float, float], gradient: Tensor | None) -> Tensor:
    """The share of some frames (n, f) in the distance, and in its gradient."""
    linear, logarithmic, floor = weights
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


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two waveforms.

    Args:
        estimate: (..., t); gets a gradient.
        target: of the same shape; gets none.
    """
    return _WaveformDistance.apply(estimate, target)


class _WaveformDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor) -> Tensor:
        signals, truths = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        gradient = torch.empty_like(signals) if ctx.needs_input_grad[0] else None
        total = estimate.new_zeros((), dtype=torch.float64)
        for piece in pieces(signals):
            difference = signals[piece] - truths[piece]
            if gradient is not None:
                torch.sign(difference, out=gradient[piece]).div_(estimate.numel())
            total += difference.abs_().sum()
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return (total / estimate.numel()).to(estimate.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None
