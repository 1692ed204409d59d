"""Causal layers: what they give for a frame depends on it and on frames before it, a few of which they remember.

Each takes the frames of a whole song at once, or some at a time with a `FrameMemory` between the calls, and gives the
same. Bottom-up: memory, convolutions, attention over past frames, block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tfswa_unet.nn.attention import SequenceAttention, Window, traced
from tfswa_unet.nn.block import NORMS, LocalMLP
from tfswa_unet.nn.conv import RCM, Chain, WholeConv

# Of axes, by their number and the one of frames: frames first and features last, which is how maps lie too; and back.
ORDERS = {(4, 1): ((1, 0, 2, 3), (1, 0, 2, 3)), (4, 2): ((2, 0, 3, 1), (1, 3, 0, 2)), (3, 2): ((2, 0, 1), (1, 2, 0))}
ROOM = 64  # frames that a layer's memory takes before its past is moved to the front again


@dataclass
class FrameMemory:
    """What causal layers keep from one call to the next: the last frames of what each has seen, and their number."""

    frames: int | Tensor = 0  # that the network has seen; a tensor in graphs, which are to hold for any number
    kept: dict[nn.Module, Past] = field(default_factory=dict)
    masks: dict[nn.Module, Tensor | None] = field(
        default_factory=dict
    )  # of a single frame, when all of the past is there

    def behind(self, layer: nn.Module, x: Tensor, count: int, axis: int) -> Tensor:
        """`x` behind the `count` frames before it along `axis`, zeros in the beginning; it is remembered."""
        there, back = ORDERS[x.ndim, axis]
        new = x.permute(there)
        past = self.kept.get(layer)
        if past is None:
            past = self.kept[layer] = Past(new.new_zeros(count + ROOM, *new.shape[1:]), count)
        return past.append(new, count).permute(back)


@dataclass
class Past:
    """A layer's last frames: those up to `end` on the first axis of a buffer that has room behind them."""

    buffer: Tensor
    end: int

    def append(self, x: Tensor, count: int) -> Tensor:
        """`x` behind the `count` frames before it, frames first; what is behind it is the past of the next call."""
        n = len(x)
        if self.end + n > len(self.buffer):
            last = self.buffer[self.end - count : self.end].clone()
            if count + n > len(self.buffer):
                self.buffer = x.new_empty(count + max(n, ROOM), *x.shape[1:])
            self.buffer[:count], self.end = last, count
        self.buffer[self.end : self.end + n] = x
        self.end += n
        return self.buffer[self.end - n - count : self.end]


def with_past(layer: nn.Module, x: Tensor, count: int, axis: int, memory: FrameMemory | None) -> Tensor:
    """`x` behind the `count` frames that came before it along `axis`, zeros where there were none.

    Args:
        layer: whose past it is.
        x: the new frames.
        count: frames of the past.
        axis: the axis of frames.
        memory: holds the past, and is given what will be; None where `x` is all there is.
    """
    if memory is None:
        return F.pad(x, (*(0, 0) * (x.ndim - 1 - axis), count, 0))
    return memory.behind(layer, x, count, axis)


class CausalConv(nn.Conv2d):
    """Convolution of 3 × 3 of maps (b, d, n, f) that sees two frames back, and a bin at either side."""

    def __init__(self, width_in: int, width_out: int, groups: int = 1, bias: bool = False) -> None:
        super().__init__(width_in, width_out, 3, padding=(0, 1), groups=groups, bias=bias)

    def forward(self, maps: Tensor, memory: FrameMemory | None = None) -> Tensor:  # type: ignore[override]
        seen = with_past(self, maps, 2, 2, memory)
        one = memory is not None and maps.shape[2] == 1 and not traced()
        if not one or self.groups != len(self.weight) or self.bias is None:
            return super().forward(seen)
        # A depthwise convolution of one frame, which takes torch's own several times as long to prepare.
        neighbours = F.pad(seen, (1, 1)).unfold(3, 3, 1)  # (b, d, 3, f, 3)
        return (neighbours * self.weight.movedim(1, 2)).sum((2, 4)).add_(self.bias[:, None])[:, :, None]


class CausalRCM(RCM):
    """`RCM` of causal convolutions: (b, d, n, f) → (b, d', n, f)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out)
        self.conv1 = CausalConv(width_in, width_out)
        self.conv2 = CausalConv(width_out, width_out)

    def forward(self, maps: Tensor, memory: FrameMemory | None = None) -> Tensor:  # type: ignore[override]
        hidden = self.conv1(F.gelu(self.norm1(maps)), memory)
        return self.conv2(F.gelu(self.norm2(hidden)), memory) + self.shortcut(maps)


class CausalStem(nn.Module):
    """Turn maps (b, c, n, f) into the skips of k resolutions along bins and tokens (b, n, f / 2ᵏ, d).

    Args:
        maps: number of maps c.
        widths: of the k RCMs, each of which is followed by an average over pairs of bins.
        width: features d of a token.
    """

    def __init__(self, maps: int, widths: Sequence[int], width: int) -> None:
        super().__init__()
        inputs = (maps, *widths[:-1])
        self.blocks = nn.ModuleList(Chain(CausalRCM(i, o)) for i, o in zip(inputs, widths, strict=True))
        self.project = nn.Linear(widths[-1], width)

    def forward(self, maps: Tensor, memory: FrameMemory | None = None) -> tuple[list[Tensor], Tensor]:
        maps = maps.contiguous(memory_format=torch.channels_last)
        skips = []
        for block in self.blocks:
            skips.append(block(maps, memory))
            maps = F.avg_pool2d(skips[-1], (1, 2))
        return skips, self.project(maps.permute(0, 2, 3, 1))


class CausalHead(nn.Module):
    """Turn tokens (b, n, f, d) and the skips of a `CausalStem` into maps (b, c, n, 2ᵏ·f).

    Args:
        width: features d of a token.
        widths: of the stem's RCMs.
        maps: number of maps c.
    """

    def __init__(self, width: int, widths: Sequence[int], maps: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, widths[-1])
        outputs = (widths[0], *widths[:-1])
        self.blocks = nn.ModuleList(Chain(CausalRCM(2 * w, o)) for w, o in zip(widths, outputs, strict=True))
        self.project = WholeConv(widths[0], maps)

    def forward(self, tokens: Tensor, skips: Sequence[Tensor], memory: FrameMemory | None = None) -> Tensor:
        maps = self.expand(self.norm(tokens)).permute(0, 3, 1, 2)
        for block, skip in zip(reversed(self.blocks), reversed(skips), strict=True):
            finer = F.interpolate(maps, scale_factor=(1.0, 2.0), mode="bilinear")
            maps = block(torch.cat([finer, skip], dim=1), memory)
        return self.project(maps)


class PastAttention(nn.Module):
    """Multi-head self-attention of each token over past frames of its window of bins: (b, n, f, 3·d) → (b, n, f, d).

    Over one bin and many frames it is TSA, over several and few W-MSA or, `shifted`, SW-MSA; along frames the window
    slides, so that each token is in its newest one. Frames before the first and bins beyond the ends are never attended
    to. Windows and biases: Swin Transformer, arXiv 2103.14030; sliding: Longformer, arXiv 2004.05150.

    Args:
        width: features d of a token.
        head_width: features of a head.
        window: frames, of which the newest is a token's own, and bins.
        bins: tokens f of a frame.
        shifted: windows begin half a window lower along the bins.
        positions: learn a bias for each relative position.
    """

    outside: Tensor
    relative: Tensor
    beyond: Tensor

    def __init__(
        self, width: int, head_width: int, window: Window, bins: int, shifted: bool = False, positions: bool = True
    ) -> None:
        super().__init__()
        rows, columns = window
        self.width, self.heads, self.window = width, width // head_width, window
        left = columns // 2 if shifted else 0
        self.sides = left, -(bins + left) % columns
        relative = _relative_positions(rows, columns)
        places = rows * (2 * columns - 1)
        self.position_bias = nn.Parameter(torch.zeros(places, self.heads)) if positions else None
        self.register_buffer("relative", relative.clamp(max=places - 1), persistent=False)
        # As truth values: an average of the weights takes in buffers, and infinity has none.
        self.register_buffer("outside", relative == places, persistent=False)
        beyond = F.pad(torch.zeros(bins, dtype=torch.bool), self.sides, value=True)
        self.register_buffer("beyond", beyond.view(-1, 1, 1, 1, 1, columns), persistent=False)

    def forward(self, qkv: Tensor, memory: FrameMemory | None = None) -> Tensor:
        n, f = qkv.shape[1:3]
        if any(self.sides):
            qkv = F.pad(qkv, (0, 0, *self.sides))
        queries, pairs = qkv.split([self.width, 2 * self.width], dim=-1)
        pairs = with_past(self, pairs, self.window[0] - 1, 1, memory)
        if memory is not None and n == 1:
            out = self._frame(queries, pairs, memory)
        else:
            out = self._chunks(queries, pairs, memory)
        return out.narrow(2, self.sides[0], f) if any(self.sides) else out

    def _frame(self, queries: Tensor, pairs: Tensor, memory: FrameMemory) -> Tensor:
        """Attention of one frame (b, 1, f, d) over keys and values (b, rows, f, 2·d)."""
        b, rows, columns = len(queries), *self.window
        if isinstance(memory.frames, Tensor) or memory.frames < rows - 1:
            mask = self._mask(b, 1, 1, memory.frames)
        else:
            if self not in memory.masks:
                memory.masks[self] = self._mask(b, 1, 1, memory.frames)
            mask = memory.masks[self]
        queries = queries.reshape(-1, columns, self.heads, self.width // self.heads).transpose(1, 2)
        form = (b, rows, -1, columns, 2, self.heads, self.width // self.heads)
        keys, values = pairs.reshape(form).permute(4, 0, 2, 5, 1, 3, 6).flatten(4, 5).flatten(1, 2)
        mask = None if mask is None else mask.to(queries.dtype)
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return out.transpose(1, 2).reshape(b, 1, -1, self.width)

    def _chunks(self, queries: Tensor, pairs: Tensor, memory: FrameMemory | None) -> Tensor:
        """Attention of frames (b, n, f, d), `rows` at a time, over keys and values (b, rows − 1 + n, f, 2·d)."""
        b, n = queries.shape[:2]
        rows, columns = self.window
        one = n <= rows and not traced()
        size = n if one else rows  # frames of queries that attend to the same keys
        count = (n + size - 1) // size
        if not one:
            queries, pairs = (F.pad(x, (0, 0, 0, 0, 0, count * size - n)) for x in (queries, pairs))
        mask = self._mask(b, size, count, 0 if memory is None else memory.frames)
        queries = rearrange(queries, "b (m i) (w j) (h e) -> (b m w) h (i j) e", i=size, j=columns, h=self.heads)
        form = "b m i (w j) (x h e) -> x (b m w) h (i j) e"
        keys, values = rearrange(_chunked(pairs, rows, one), form, x=2, j=columns, h=self.heads)
        mask = None if mask is None else mask.to(queries.dtype)
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        form = "(b m w) h (i j) e -> b (m i) (w j) (h e)"
        out = rearrange(out, form, b=b, m=count, i=size, j=columns)
        return out if one else out.narrow(1, 0, n)

    def _mask(self, b: int, size: int, count: int, seen: int | Tensor) -> Tensor | None:
        """What is added to the scores, (b·m·w or 1, h or 1, queries, keys): the bias, −∞ for what is not to be seen."""
        rows = self.window[0]
        keys = rows - 1 + size
        hidden = self.outside[None, :size, :, :keys]
        bias: Tensor | float = 0.0
        if self.position_bias is not None:
            bias = self.position_bias[self.relative[:size, :, :keys]].permute(4, 0, 1, 2, 3)
        if not isinstance(seen, Tensor) and seen >= rows - 1 and not any(self.sides):
            if self.position_bias is None and size == 1:
                return None
            return torch.where(hidden, -torch.inf, bias).flatten(3).flatten(1, 2)[None]
        # Keys begin rows − 1 frames before the queries of their chunk, and only so many frames have been.
        moment = torch.arange(count, device=hidden.device)[:, None] * rows + torch.arange(keys, device=hidden.device)
        missing = (moment < rows - 1 - seen).view(-1, 1, 1, 1, 1, keys, 1)
        masked = torch.where(hidden | self.beyond | missing, -torch.inf, bias)
        return masked.flatten(5).flatten(3, 4).expand(b, *[-1] * 5).flatten(0, 2)


def _chunked(pairs: Tensor, rows: int, one: bool) -> Tensor:
    """Keys and values (b, rows − 1 + n, …) of each chunk of `rows` queries: (b, m, 2·rows − 1, …); of all for `one`."""
    if one:
        return pairs[:, None]
    chunks = F.pad(pairs, (0, 0, 0, 0, 1, 0)).unflatten(1, (-1, rows))
    return torch.cat([chunks[:, :-1, 1:], chunks[:, 1:]], dim=2)


def _relative_positions(rows: int, columns: int) -> Tensor:
    """Place of each key in the bias table, (queries' frames, bins, keys' frames, bins), beyond its end if out of sight.

    Keys begin `rows` − 1 frames before the queries.
    """
    query, key, bin_ = torch.arange(rows), torch.arange(2 * rows - 1), torch.arange(columns)
    back = rows - 1 + query[:, None, None, None] - key[:, None]
    across = bin_[:, None, None] - bin_ + columns - 1
    places = back * (2 * columns - 1) + across
    return torch.where((back >= 0) & (back < rows), places, rows * (2 * columns - 1))


@dataclass(frozen=True)
class CausalForm:
    """What all causal blocks of a network share.

    Raises:
        ConfigError: for an unknown norm.
    """

    bins: int  # tokens of a frame
    head_width: int  # features of a head; must divide every block's width
    past: int  # frames that TSA sees, with the token's own
    window: Window  # frames and bins that W-MSA sees
    norm: str  # a key of `NORMS`

    def __post_init__(self) -> None:
        NORMS[self.norm]  # refuses an unknown one


class CausalAttention(nn.Module):
    """TSA over past frames, FSA inside the frame and (S)W-MSA over past frames, of the same tokens, side by side."""

    def __init__(self, width: int, form: CausalForm, shifted: bool) -> None:
        super().__init__()
        head_width, bins = form.head_width, form.bins
        self.tsa = PastAttention(width, head_width, (form.past, 1), bins, positions=False)
        self.fsa = SequenceAttention(width, head_width, "bin", rotary=False)
        self.swa = PastAttention(width, head_width, form.window, bins, shifted)
        self.qkv = nn.Linear(width, 9 * width)  # TSA's queries, keys and values, then FSA's, then (S)W-MSA's
        self.fuse = nn.Linear(3 * width, width)

    def forward(self, tokens: Tensor, memory: FrameMemory | None = None) -> Tensor:
        of_time, of_frequency, of_window = self.qkv(tokens).chunk(3, dim=-1)
        attended = [self.tsa(of_time, memory), self.fsa(of_frequency), self.swa(of_window, memory)]
        return self.fuse(torch.cat(attended, dim=-1))

    def last_layers(self) -> list[nn.Linear]:
        """The linear layers whose output joins the residual stream."""
        return [self.fuse]


class CausalMLP(LocalMLP):
    """`LocalMLP` whose depthwise convolution sees two frames back: (b, n, f, d) → (b, n, f, d)."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__(width, ratio)
        hidden = self.expand.out_features
        self.mix = CausalConv(hidden, hidden, groups=hidden, bias=True)

    def forward(self, tokens: Tensor, memory: FrameMemory | None = None) -> Tensor:  # type: ignore[override]
        hidden = self.expand(tokens)
        mixed = self.mix(hidden.permute(0, 3, 1, 2), memory).permute(0, 2, 3, 1)
        return self.contract(F.gelu(hidden + mixed))


class CausalBlock(nn.Module):
    """`TFSWABlock` that sees no frame to come: (b, n, f, d) → (b, n, f, d).

    Args:
        width: features d of a token.
        form: what all blocks share.
        shifted: SW-MSA instead of W-MSA.
        mlp_ratio: hidden features of the MLP, in multiples of d.
    """

    def __init__(self, width: int, form: CausalForm, shifted: bool, mlp_ratio: float) -> None:
        super().__init__()
        self.norm_in = NORMS[form.norm](width)
        self.attention = CausalAttention(width, form, shifted)
        self.norm_mlp = NORMS[form.norm](width)
        self.mlp = CausalMLP(width, mlp_ratio)

    def forward(self, tokens: Tensor, memory: FrameMemory | None = None) -> Tensor:
        tokens = tokens + self.attention(self.norm_in(tokens), memory)
        return tokens + self.mlp(self.norm_mlp(tokens), memory)
