"""How far two waveforms are apart, with a gradient that costs no more than the value.

Written out, as for magnitudes, because autograd carries every intermediate result through memory: the difference, its
size, its sign.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tfswa_unet.dsp import pieces


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
