"""Attention inside windows of the time–frequency plane (W-MSA), and inside windows shifted by half (SW-MSA)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tfswa_unet.nn.attend import attend

Window = tuple[int, int]


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
