"""Residual convolutions on maps (b, d, n, f), and the encoder and decoder blocks made of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.nn.chain import Chain


class RCM(nn.Module):
    """Residual convolutional module: [BatchNorm, GELU, Conv 3×3] twice, beside a 1×1 convolution.

    Maps (b, d, n, f) to (b, d', n, f). Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        # What follows is a norm, and the shortcut's bias: another would be without effect.
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(width_in, width_out, 1)

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
