"""Convolutions and projections between maps and tokens, bottom-up: RCM, conv block, stems and heads, resampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Patch = tuple[int, int]  # frames and bins


class Chain(nn.Sequential):
    """Layers of one input and one output in a row; whatever else is given goes to each of them.

    With `checkpointing`, training keeps the input of each layer only and runs it again in the backward pass: less
    memory for one more forward pass, the same gradients and running statistics. Source: arXiv 1604.06174.
    """

    checkpointing = False

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        for layer in self:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, *more, use_reentrant=False, context_fn=partial(_contexts, layer))
            else:
                x = layer(x, *more)
        return x


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of maps (b, d, n, f) that does not count its batches: nothing here reads their number."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        nn.Module._load_from_state_dict(self, *args, **kwargs)  # torch's own would add the number where it is missing


class PointConv(nn.Conv2d):
    """Convolution of 1 × 1 of channels-last maps (b, d, n, f) → (b, d', n, f) as the matrix product that it is.

    Torch's own is several times slower on CPUs where few features meet many points.
    """

    bias: nn.Parameter

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return F.linear(maps.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class WholeConv(PointConv):
    """`PointConv` that leaves each map whole in memory, as what takes them apart wants it."""

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.weight.flatten(1).expand(maps.shape[0], -1, -1)
        return torch.baddbmm(self.bias[:, None], weights, maps.flatten(2)).unflatten(2, maps.shape[2:])


class RCM(nn.Module):
    """Residual convolutional module: [BatchNorm, GELU, Conv 3×3] twice, beside a 1×1 convolution.

    Maps (b, d, n, f) to (b, d', n, f). Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        # What follows is a norm, and the shortcut's bias: another would be without effect.
        self.norm1 = BatchNorm(width_in)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm2 = BatchNorm(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.shortcut = PointConv(width_in, width_out)

    def forward(self, maps: Tensor) -> Tensor:
        hidden = self.conv1(F.gelu(self.norm1(maps)))
        return self.conv2(F.gelu(self.norm2(hidden))) + self.shortcut(maps)


class TokenRCM(RCM):
    """`RCM` on tokens: (b, n, f, d) → (b, n, f, d'), copying nothing."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvBlock(Chain):
    """`depth` RCMs in a row, the first of which changes the width: (b, d, n, f) → (b, d', n, f)."""

    def __init__(self, width_in: int, width_out: int, depth: int) -> None:
        super().__init__(*(RCM(width_out if i else width_in, width_out) for i in range(depth)))


class ConvEncoder(nn.Module):
    """Conv block and 2×2 average: (b, d, n, f) → its maps (b, d', n, f) for the skip, and (b, d', n / 2, f / 2)."""

    def __init__(self, width_in: int, width_out: int, depth: int) -> None:
        super().__init__()
        self.block = ConvBlock(width_in, width_out, depth)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.block(maps)
        return maps, F.avg_pool2d(maps, 2)


class ConvDecoder(nn.Module):
    """Bilinear ×2, the encoder's maps beside it, conv block: (b, d, n, f) and skip (b, e, 2n, 2f) → (b, d', 2n, 2f)."""

    def __init__(self, width_in: int, width_skip: int, width_out: int, depth: int) -> None:
        super().__init__()
        self.block = ConvBlock(width_in + width_skip, width_out, depth)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        maps = F.interpolate(maps, scale_factor=2, mode="bilinear")
        return self.block(torch.cat([maps, skip], dim=1))


class ConvStem(nn.Module):
    """Turn maps (b, c, n, f) into the skips of k resolutions and tokens (b, n / 2ᵏ, f / 2ᵏ, d).

    Attention on patches sees the outline of a spectrogram; what lies between its lines, the onset of a drum or the
    partials of a voice, is for convolutions at full resolution.

    Args:
        maps: number of maps c.
        widths: of the k conv blocks, one RCM each.
        width: features d of a token.
    """

    def __init__(self, maps: int, widths: Sequence[int], width: int) -> None:
        super().__init__()
        inputs = (maps, *widths[:-1])
        self.blocks = nn.ModuleList(ConvEncoder(i, o, 1) for i, o in zip(inputs, widths, strict=True))
        self.project = nn.Linear(widths[-1], width)

    def forward(self, maps: Tensor) -> tuple[list[Tensor], Tensor]:
        maps = maps.contiguous(memory_format=torch.channels_last)
        skips = []
        for block in self.blocks:
            skip, maps = block(maps)
            skips.append(skip)
        return skips, self.project(maps.permute(0, 2, 3, 1))


class ConvHead(nn.Module):
    """Turn tokens (b, n, f, d) and the skips of a `ConvStem` into maps (b, c, 2ᵏ·n, 2ᵏ·f).

    Args:
        width: features d of a token.
        widths: of the stem's conv blocks.
        maps: number of maps c.
    """

    def __init__(self, width: int, widths: Sequence[int], maps: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, widths[-1])
        outputs = (widths[0], *widths[:-1])
        self.blocks = nn.ModuleList(ConvDecoder(w, w, o, 1) for w, o in zip(widths, outputs, strict=True))
        self.project = WholeConv(widths[0], maps)

    def forward(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        maps = self.expand(self.norm(tokens)).permute(0, 3, 1, 2)
        for block, skip in zip(reversed(self.blocks), reversed(skips), strict=True):
            maps = block(maps, skip)
        return self.project(maps)


class PatchStem(nn.Module):
    """Turn maps (b, c, n, f) into points (b, n, f, e) and these into tokens (b, n / i, f / j, d), one a patch of i × j.

    The points keep what a patch's token has no room for; the head gets them back.
    """

    def __init__(self, maps: int, detail: int, width: int, patch: Patch) -> None:
        super().__init__()
        self.patch = patch
        self.point = nn.Linear(maps, detail)
        self.project = nn.Linear(detail * patch[0] * patch[1], width)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        i, j = self.patch
        points = self.point(rearrange(maps, "b c n f -> b n f c"))
        return points, self.project(rearrange(points, "b (n i) (f j) e -> b n f (i j e)", i=i, j=j))


class PatchHead(nn.Module):
    """Turn tokens (b, n, f, d) and points (b, n·i, f·j, e) into maps (b, c, n·i, f·j).

    A token speaks for a whole patch; together with each point's own input it becomes a mask of full resolution.
    """

    def __init__(self, width: int, detail: int, maps: int, patch: Patch) -> None:
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Linear(width, detail * patch[0] * patch[1])
        self.expand = nn.Linear(2 * detail, 2 * detail)
        self.mix = nn.Conv2d(2 * detail, 2 * detail, 3, padding=1, groups=2 * detail)
        self.project = nn.Linear(2 * detail, maps)

    def forward(self, tokens: Tensor, points: Tensor) -> Tensor:
        i, j = self.patch
        spread = rearrange(self.spread(self.norm(tokens)), "b n f (i j e) -> b (n i) (f j) e", i=i, j=j)
        hidden = self.expand(torch.cat([spread, points], dim=-1))
        mixed = self.mix(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.project(F.gelu(hidden + mixed)).permute(0, 3, 1, 2)


class Down(nn.Module):
    """Merge 2 × 2 tokens into one: (b, n, f, d) → (b, n / 2, f / 2, d')."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.project = nn.Linear(4 * width, wider)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.project(self.norm(rearrange(tokens, "b (n i) (f j) d -> b n f (i j d)", i=2, j=2)))


class Up(nn.Module):
    """Split one token into 2 × 2: (b, n, f, d') → (b, 2n, 2f, d)."""

    def __init__(self, wider: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(wider, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        return rearrange(self.project(tokens), "b n f (i j d) -> b (n i) (f j) d", i=2, j=2)


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the forward pass of a checkpointed layer, and its recomputation."""
    return nullcontext(), _statistics_left_alone(layer)


@contextmanager
def _statistics_left_alone(layer: nn.Module) -> Iterator[None]:
    """Keep the batch norms of a layer from counting a batch twice because it is computed twice."""
    kept = [(norm, norm.momentum) for norm in layer.modules() if isinstance(norm, BatchNorm)]
    for norm, _ in kept:
        norm.momentum = 0.0  # without running statistics the recomputation would save other tensors
    try:
        yield
    finally:
        for norm, momentum in kept:
            norm.momentum = momentum
