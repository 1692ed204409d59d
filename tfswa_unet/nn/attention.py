"""Attention along one axis of the time–frequency plane: TSA along frames, FSA along bins."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.nn.attend import attend

Axis = Literal["frame", "bin"]


class SequenceAttention(nn.Module):
    """Multi-head self-attention along frames for every bin (TSA), or along bins for every frame (FSA).

    Maps (b, n, f, d) to (b, n, f, d). Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0, and rotary positions
    from RoFormer, arXiv 2104.09864. The output projection is the block's fusion, so there is none here.

    Args:
        width: features d of a token.
        head_width: features of a head; d / head_width heads.
        axis: `frame` for TSA, `bin` for FSA.
        rotary: turn queries and keys by their position along the axis.
    """

    def __init__(self, width: int, head_width: int, axis: Axis, rotary: bool = True) -> None:
        super().__init__()
        self.axis = axis
        self.heads = width // head_width
        self.rotary = rotary
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        # Three products instead of one: each result is whole in memory, so that every view below is free of copies.
        weights, biases = self.qkv.weight.chunk(3), self.qkv.bias.chunk(3)
        q, k, v = (F.linear(tokens, weight, bias) for weight, bias in zip(weights, biases, strict=True))
        if self.rotary:
            q, k = (rotate(x, self.heads, self.axis) for x in (q, k))
        q, k, v = (self._sequences(x) for x in (q, k, v))
        return attend(q, k, v).transpose(1, 2).reshape(tokens.shape)

    def _sequences(self, x: Tensor) -> Tensor:
        """View (b, n, f, d) as sequences (…, h, tokens, e) along the axis."""
        b, n, f, d = x.shape
        if self.axis == "frame":  # bins and heads are alike to attention: (b, f·h, n, e)
            return x.view(b, n, f * self.heads, d // self.heads).transpose(1, 2)
        return x.view(b * n, f, self.heads, d // self.heads).transpose(1, 2)


def rotate(x: Tensor, heads: int, axis: Axis) -> Tensor:
    """Turn the feature pairs of each head in (b, n, f, d) by angles that grow with the position along `axis`."""
    b, n, f, d = x.shape
    half = d // heads // 2
    positions = torch.arange(n if axis == "frame" else f, device=x.device, dtype=torch.float32)
    rates = 10_000 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.outer(positions, rates)
    angles = angles[:, None, None] if axis == "frame" else angles[:, None]
    turn = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.float().view(b, n, f, heads, half, 2))
    # In place where x is float32: nothing else holds a fresh projection, and fresh pages cost more than the product.
    return torch.view_as_real(pairs.mul_(turn)).view(b, n, f, d).to(x.dtype)
