"""A stage: TFSWA blocks in a row at one resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tfswa_unet.nn.arrangement import BlockForm
from tfswa_unet.nn.block import TFSWABlock


class Stage(nn.Module):
    """Map tokens (b, n, f, d) to (b, n, f, d) by `depth` blocks whose windows alternate between W-MSA and SW-MSA.

    Args:
        depth: number of blocks.
        width: features d of a token.
        form: what all blocks share.
        mlp_ratio: hidden features of each MLP, in multiples of d.
        skip: the first block merges tokens of the encoder.
    """

    def __init__(self, depth: int, width: int, form: BlockForm, mlp_ratio: float, skip: bool = False) -> None:
        super().__init__()
        self.checkpointing = False  # recompute each block's activations in the backward pass
        self.blocks = nn.ModuleList(
            TFSWABlock(width, form, index % 2 == 1, mlp_ratio, skip and index == 0) for index in range(depth)
        )

    def forward(self, tokens: Tensor, skip: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, skip, use_reentrant=False)
            else:
                tokens = block(tokens, skip)
            skip = None
        return tokens
