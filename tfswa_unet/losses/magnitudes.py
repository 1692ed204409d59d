"""How far two spectrograms are apart in magnitude, with a gradient that costs no more than the value.

Written out because autograd needs four times as long: it keeps, and later reads, every intermediate result of the size
of the spectrogram, while signal by signal they stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CACHED = 2**19  # elements worked on at a time on a CPU
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
        signals, truths = (x.reshape(-1, *x.shape[-2:]) for x in (estimate, target))
        gradient = torch.empty_like(signals) if ctx.needs_input_grad[0] else None
        at_once = max(1, CACHED // signals[0].numel()) if signals.device.type == "cpu" else len(signals)
        total = estimate.real.new_zeros((), dtype=torch.float64)
        for i in range(0, len(signals), at_once):
            part = slice(i, i + at_once)
            total += _part(
                signals[part],
                truths[part],
                (linear, logarithmic, floor),
                None if gradient is None else gradient[part],
                estimate.numel(),
            )
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return (total / estimate.numel()).to(estimate.real.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None, None


def _part(
    estimate: Tensor, target: Tensor, weights: tuple[float, float, float], gradient: Tensor | None, count: int
) -> Tensor:
    """The sum over a part (signals, n, f), and its share of the gradient of the mean over `count` elements."""
    linear, logarithmic, floor = weights
    ours, theirs = _magnitude(estimate), _magnitude(target)
    difference = ours - theirs
    total = linear * difference.abs().sum(dtype=torch.float64)
    slope = torch.full_like(ours, linear)
    if logarithmic:
        theirs.add_(floor)
        raised = ours + floor
        total = total + logarithmic * (raised / theirs).log_().abs_().sum(dtype=torch.float64)
        slope.addcdiv_(torch.full_like(ours, logarithmic), raised)
    if gradient is not None:
        # d|E| / dE points along E; both parts grow where |E| > |T|, for the logarithm rises with its argument.
        torch.mul(estimate, slope.mul_(difference.sign_()).div_(ours).div_(count), out=gradient)
    return total


def _magnitude(spectrum: Tensor) -> Tensor:
    return (spectrum.real * spectrum.real).addcmul_(spectrum.imag, spectrum.imag).add_(TINY).sqrt_()
