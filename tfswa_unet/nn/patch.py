"""Changes of resolution: maps to tokens and back, and by two in frames and bins inside the U."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

Patch = tuple[int, int]


class PatchStem(nn.Module):
    """Turn maps (b, c, n, f) into tokens (b, n / i, f / j, d), one for each patch of i frames × j bins."""

    def __init__(self, maps: int, width: int, patch: Patch) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(maps * patch[0] * patch[1], width)

    def forward(self, maps: Tensor) -> Tensor:
        i, j = self.patch
        return self.project(rearrange(maps, "b c (n i) (f j) -> b n f (c i j)", i=i, j=j))


class PatchHead(nn.Module):
    """Invert the stem's shape: tokens (b, n, f, d) to maps (b, c, n·i, f·j)."""

    def __init__(self, width: int, maps: int, patch: Patch) -> None:
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, maps * patch[0] * patch[1])

    def forward(self, tokens: Tensor) -> Tensor:
        i, j = self.patch
        return rearrange(self.project(self.norm(tokens)), "b n f (c i j) -> b c (n i) (f j)", i=i, j=j)


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
