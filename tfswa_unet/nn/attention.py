"""Self-attention on tokens (b, n, f, d): along frames (TSA), along bins (FSA), inside windows (W-MSA, SW-MSA)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# Measured on CPUs: below these sequence lengths two batched matrix products beat the fused kernel, whose backward pass
# recomputes what a short softmax can keep.
PLAIN_BELOW_FORWARD = 64
PLAIN_BELOW_BACKWARD = 129

Axis = Literal["frame", "bin"]
Window = tuple[int, int]  # frames and bins


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention of queries over keys, the heads apart.

    Args:
        q: queries (..., h, tokens, e), e the width of a head; leading axes are independent sequences.
        k: keys of the same shape.
        v: values of the same shape.
        bias: added to the scores before the softmax, broadcast to (..., h, tokens, tokens).

    Returns:
        (..., h, tokens, e).
    """
    tokens = q.shape[-2]
    limit = PLAIN_BELOW_BACKWARD if torch.is_grad_enabled() and q.requires_grad else PLAIN_BELOW_FORWARD
    if q.device.type != "cpu" or tokens >= limit:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ v


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
    """Rotary positions: turn the feature pairs of each head in (b, n, f, d) by angles that grow along `axis`.

    Overwrites a float32 `x`. Source: RoFormer, arXiv 2104.09864.
    """
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


def partition_windows(tokens: Tensor, window: Window) -> Tensor:
    """Cut (b, n, f, d), n and f multiples of the window's sides, into windows (b, windows, tokens, d)."""
    return rearrange(tokens, "b (wn i) (wf j) d -> b (wn wf) (i j) d", i=window[0], j=window[1])


def merge_windows(windows: Tensor, window: Window, n: int, f: int) -> Tensor:
    """Invert `partition_windows`: (b, windows, tokens, d) back to (b, n, f, d)."""
    wn, wf = n // window[0], f // window[1]
    return rearrange(windows, "b (wn wf) (i j) d -> b (wn i) (wf j) d", wn=wn, wf=wf, i=window[0], j=window[1])


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position.

    Maps (b, n, f, d) to (b, n, f, d) for any n and f: the plane is padded at run time and padding is never attended to.
    A shifted grid starts half a window earlier, which gives the same windows as Swin's roll and mask without the roll.
    Source: Swin Transformer, arXiv 2103.14030.

    Args:
        width: features d of a token.
        head_width: features of a head.
        window: frames and bins of a window.
        shifted: SW-MSA instead of W-MSA.
    """

    def __init__(self, width: int, head_width: int, window: Window, shifted: bool) -> None:
        super().__init__()
        self.heads = width // head_width
        self.window = window
        self.shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
        self.qkv = nn.Linear(width, 3 * width)
        rows, columns = window
        self.position_bias = nn.Parameter(torch.zeros((2 * rows - 1) * (2 * columns - 1), self.heads))
        self.relative: Tensor
        self.register_buffer("relative", _relative_positions(rows, columns), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        n, f = tokens.shape[1:3]
        padding = self._padding(n, f)
        padded = F.pad(tokens, (0, 0, *padding)) if any(padding) else tokens
        rows, columns = padded.shape[1:3]

        windows = partition_windows(padded, self.window)
        count = windows.shape[1]
        q, k, v = rearrange(self.qkv(windows), "b w t (x h e) -> x (b w) h t e", x=3, h=self.heads).unbind(0)
        bias = self.position_bias[self.relative].permute(2, 0, 1).to(q.dtype)[None]
        if any(padding):
            bias = (bias + self._padding_mask(n, f, padding, bias)).repeat(len(tokens), 1, 1, 1)
        out = rearrange(attend(q, k, v, bias), "(b w) h t e -> b w t (h e)", w=count)

        merged = merge_windows(out, self.window, rows, columns)
        top, left = padding[2], padding[0]
        return merged[:, top : top + n, left : left + f]

    def _padding(self, n: int, f: int) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) that brings the plane, shifted, to whole windows; bins lie left to right."""
        top, left = self.shift
        return left, -(f + left) % self.window[1], top, -(n + top) % self.window[0]

    def _padding_mask(self, n: int, f: int, padding: tuple[int, int, int, int], like: Tensor) -> Tensor:
        """−∞ for the keys that are padding: (windows, 1, 1, tokens)."""
        plane = F.pad(like.new_zeros(1, n, f, 1), (0, 0, *padding), value=float("-inf"))
        return partition_windows(plane, self.window)[0, :, None, None, :, 0]


def _relative_positions(rows: int, columns: int) -> Tensor:
    """Index into the bias table for each pair of tokens of a window: (tokens, tokens)."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    row, column = row.flatten(), column.flatten()
    down = row[:, None] - row[None] + rows - 1
    across = column[:, None] - column[None] + columns - 1
    return down * (2 * columns - 1) + across
