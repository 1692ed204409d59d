"""Changes of resolution: maps to tokens and back, and by two in frames and bins inside the U."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Patch = tuple[int, int]


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
