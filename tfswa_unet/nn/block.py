"""The TFSWA block: time-sequence, frequency-sequence and shifted-window attention, and an MLP that sees neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.nn.arrangement import ARRANGEMENTS, BlockForm
from tfswa_unet.nn.norm import make_norm


class LocalMLP(nn.Module):
    """Two linear layers around a depthwise 3 × 3 convolution and a GELU: (b, n, f, d) → (b, n, f, d).

    Fresh attention averages over all it sees; the convolution gives each token its neighbours from the first step on.
    Source: LeFF of Uformer, arXiv 2106.03106.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.expand = nn.Linear(width, hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.expand(tokens)
        # Channels-last tokens are a convolution's channels-last maps: the permutations copy nothing.
        mixed = self.mix(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.contract(F.gelu(hidden + mixed))


class TFSWABlock(nn.Module):
    """Input projection → the three attentions → residual, then an MLP with its own residual.

    Maps tokens (b, n, f, d) to (b, n, f, d). With `skip`, the input projection merges the encoder's tokens of the same
    shape. Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0, with the attentions in parallel unless told otherwise.

    Args:
        width: features d of a token.
        form: what all blocks share.
        shifted: SW-MSA instead of W-MSA.
        mlp_ratio: hidden features of the MLP, in multiples of d.
        skip: expect a second input from the encoder.
    """

    def __init__(self, width: int, form: BlockForm, shifted: bool, mlp_ratio: float, skip: bool = False) -> None:
        super().__init__()
        self.norm_in = make_norm(form.norm, 2 * width if skip else width)
        self.project_in = nn.Linear(2 * width if skip else width, width)
        self.attention = ARRANGEMENTS[form.arrangement](width, form, shifted)
        self.norm_mlp = make_norm(form.norm, width)
        self.mlp = LocalMLP(width, mlp_ratio)

    def forward(self, tokens: Tensor, skip: Tensor | None = None) -> Tensor:
        merged = tokens if skip is None else torch.cat([tokens, skip], dim=-1)
        tokens = tokens + self.attention(self.project_in(self.norm_in(merged)))
        return tokens + self.mlp(self.norm_mlp(tokens))
