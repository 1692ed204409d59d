"""Self-attention on tokens (b, n, f, d): along frames (TSA), along bins (FSA), inside windows (W-MSA, SW-MSA)."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Axis = Literal["frame", "bin"]
Window = tuple[int, int]  # frames and bins
POSITIONS = 1024  # that rotary tables hold; longer sequences get their own


class SequenceAttention(nn.Module):
    """Multi-head self-attention along frames for every bin (TSA), or along bins for every frame (FSA).

    Maps queries, keys and values side by side (b, n, f, 3·d) to (b, n, f, d); what projects tokens to these is the
    block's. Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0; rotary positions: RoFormer, arXiv 2104.09864.

    Args:
        width: features d of a token.
        head_width: features of a head; d / head_width heads.
        axis: `frame` for TSA, `bin` for FSA.
        rotary: turn queries and keys by their position along the axis.
    """

    def __init__(self, width: int, head_width: int, axis: Axis, rotary: bool) -> None:
        super().__init__()
        self.axis = axis
        self.heads = width // head_width
        self.turns: Tensor | None
        self.register_buffer("turns", rotary_table(POSITIONS, head_width) if rotary else None, persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        along = qkv.transpose(1, 2) if self.axis == "frame" else qkv
        out = attend(along.flatten(0, 1), self.heads, turns=self._turns(along)).unflatten(0, along.shape[:2])
        return out.transpose(1, 2) if self.axis == "frame" else out

    def _turns(self, along: Tensor) -> Tensor | None:
        """The rotary table of as many positions as a sequence has tokens: (2, tokens, e)."""
        if self.turns is None:
            return None
        length = along.shape[2]
        made = traced() or length > self.turns.shape[1]
        table = rotary_table(length, self.turns.shape[2]) if made else self.turns[:, :length]
        return table.to(along)


def traced() -> bool:
    """Whether a graph is being made of this call, in which a length is a symbol that no branch may hang on."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def attend(qkv: Tensor, heads: int, turns: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Softmax attention of every token of a sequence over all of them, the heads apart.

    Args:
        qkv: queries, keys and values side by side (…, tokens, 3·d); leading axes are independent sequences.
        heads: d / heads features e each.
        turns: rotary table (2, tokens, e) that queries and keys are turned by.
        bias: added to the scores before the softmax, broadcast to (…, heads, tokens, tokens).

    Returns:
        (…, tokens, d).
    """
    split = qkv.unflatten(-1, (3, heads, -1))
    if turns is None:
        q, k, v = split.unbind(-3)
    else:
        both, v = split.split([2, 1], dim=-3)
        q, k, v = *rotate(both, turns[:, :, None, None]).unbind(-3), v.squeeze(-3)
    q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(-3, -2).flatten(-2)


def rotary_table(positions: int, width: int) -> Tensor:
    """Cosine and signed sine for each position and feature of a head, as `rotate` takes them: (2, positions, width)."""
    half = width // 2
    rates = 10_000 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), rates)
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([torch.stack([cosine, cosine], -1), torch.stack([-sine, sine], -1)]).flatten(-2)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn neighbouring features (…, e) pairwise, as complex numbers, by the angles of a rotary table (2, …, e).

    Source: RoFormer, arXiv 2104.09864.
    """
    # TorchScript has no functions with a gradient of their own.
    return _turned(x, turns) if traced() else _Rotation.apply(x, turns)


class _Rotation(torch.autograd.Function):
    """A rotation, whose gradient is turned back: three operations each way instead of the eleven of its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, turns: Tensor) -> Tensor:
        ctx.save_for_backward(turns)
        return _turned(x, turns)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        (turns,) = ctx.saved_tensors
        return torch.addcmul(outputs[0] * turns[0], _swapped(outputs[0]), turns[1], value=-1), None


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    return torch.addcmul(x * turns[0], _swapped(x), turns[1])


def _swapped(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def partition_windows(tokens: Tensor, window: Window) -> Tensor:
    """Cut (b, n, f, d), n and f multiples of the window's sides, into windows (b, windows, tokens, d)."""
    return rearrange(tokens, "b (wn i) (wf j) d -> b (wn wf) (i j) d", i=window[0], j=window[1])


def merge_windows(windows: Tensor, window: Window, n: int, f: int) -> Tensor:
    """Invert `partition_windows`: (b, windows, tokens, d) back to (b, n, f, d)."""
    wf = f // window[1]
    return rearrange(windows, "b (wn wf) (i j) d -> b (wn i) (wf j) d", wf=wf, i=window[0], j=window[1])


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position.

    Maps queries, keys and values side by side (b, n, f, 3·d) to (b, n, f, d) for any n and f: the plane is padded at
    run time and padding is never attended to. A shifted grid starts half a window earlier, which gives the same windows
    as Swin's roll and mask without the roll. Source: Swin Transformer, arXiv 2103.14030.

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
        rows, columns = window
        self.position_bias = nn.Parameter(torch.zeros((2 * rows - 1) * (2 * columns - 1), self.heads))
        self.relative: Tensor
        self.register_buffer("relative", _relative_positions(rows, columns), persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        b, n, f, _ = qkv.shape
        padding = self._padding(n, f)
        pads = traced() or any(padding)
        padded = F.pad(qkv, (0, 0, *padding)) if pads else qkv
        rows, columns = padded.shape[1:3]

        windows = partition_windows(padded, self.window)
        bias = self.position_bias[self.relative].permute(2, 0, 1)[None]
        if pads:
            mask = self._padding_mask(n, f, padding, bias)
            bias = (bias + mask).expand(b, -1, -1, -1, -1).flatten(0, 1)
        # As one batch, which is the form that torch has fused attention for.
        out = attend(windows.flatten(0, 1), self.heads, bias=bias.to(qkv.dtype)).unflatten(0, windows.shape[:2])

        merged = merge_windows(out, self.window, rows, columns)
        return merged.narrow(1, padding[2], n).narrow(2, padding[0], f) if pads else merged

    def _padding(self, n: int, f: int) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) that brings the plane, shifted, to whole windows; bins lie left to right."""
        top, left = self.shift
        rows, columns = self.window
        # Nothing negative is divided: other runtimes round it towards zero.
        return left, _up(f + left, columns) - left - f, top, _up(n + top, rows) - top - n

    def _padding_mask(self, n: int, f: int, padding: tuple[int, int, int, int], like: Tensor) -> Tensor:
        """−∞ for the keys that are padding: (windows, 1, 1, tokens)."""
        plane = F.pad(like.new_zeros(1, n, f, 1), (0, 0, *padding), value=float("-inf"))
        return partition_windows(plane, self.window)[0, :, None, None, :, 0]


def _up(length: int, whole: int) -> int:
    """The next multiple of `whole`."""
    return (length + whole - 1) // whole * whole


def _relative_positions(rows: int, columns: int) -> Tensor:
    """Index into the bias table for each pair of tokens of a window: (tokens, tokens)."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    row, column = row.flatten(), column.flatten()
    down = row[:, None] - row[None] + rows - 1
    across = column[:, None] - column[None] + columns - 1
    return down * (2 * columns - 1) + across
