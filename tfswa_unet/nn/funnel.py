"""From maps to tokens and back by convolutions that halve the resolution step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tfswa_unet.nn.conv import ConvDecoder, ConvEncoder


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
        self.project = nn.Conv2d(widths[0], maps, 1)

    def forward(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        maps = self.expand(self.norm(tokens)).permute(0, 3, 1, 2)
        for block, skip in zip(reversed(self.blocks), reversed(skips), strict=True):
            maps = block(maps, skip)
        return self.project(maps)
