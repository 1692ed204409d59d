"""The TFSWA block, bottom-up: norms, the three attentions and their arrangement, MLP, block, stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tfswa_unet.config import Registry
from tfswa_unet.nn.attention import SequenceAttention, Window, WindowAttention

# Norms over the d features of tokens (…, d), each made of d; RMSNorm: arXiv 1910.07467.
NORMS: Registry[type[nn.Module]] = Registry("model.network.norm")
NORMS.register("layer")(nn.LayerNorm)
NORMS.register("rms")(nn.RMSNorm)
# How TSA, FSA and (S)W-MSA work together, each made of (d', d, a `BlockForm`, whether windows are shifted).
ARRANGEMENTS: Registry[type[ThreeAttentions]] = Registry("model.network.arrangement")


@dataclass(frozen=True)
class BlockForm:
    """What all TFSWA blocks of a network share.

    Raises:
        ConfigError: for an unknown arrangement or norm.
    """

    head_width: int  # features of a head; must divide every block's width
    window: Window  # tokens along frames, along bins
    rotary: bool  # rotary positions in TSA and FSA
    arrangement: str  # a key of `ARRANGEMENTS`
    norm: str  # a key of `NORMS`

    def __post_init__(self) -> None:
        ARRANGEMENTS[self.arrangement]  # refuses an unknown one
        NORMS[self.norm]


class ThreeAttentions(nn.Module):
    """TSA, FSA and W-MSA (or, `shifted`, SW-MSA) in a subclass's order: (b, n, f, d') → (b, n, f, d).

    Args:
        width_in: features d' of a token.
        width: features d of a token of the result.
        form: what all blocks share.
        shifted: SW-MSA instead of W-MSA.
    """

    def __init__(self, width_in: int, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__()
        self.tsa = SequenceAttention(width, form.head_width, "frame", form.rotary)
        self.fsa = SequenceAttention(width, form.head_width, "bin", form.rotary)
        self.swa = WindowAttention(width, form.head_width, form.window, shifted)

    def last_layers(self) -> list[nn.Linear]:
        """The linear layers whose output joins the residual stream."""
        raise NotImplementedError


@ARRANGEMENTS.register("parallel")
class ParallelAttention(ThreeAttentions):
    """TSA, FSA and (S)W-MSA of the same tokens, which one linear layer projects for all and one fuses."""

    def __init__(self, width_in: int, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__(width_in, width, form, shifted)
        self.qkv = nn.Linear(width_in, 9 * width)  # TSA's queries, keys and values, then FSA's, then (S)W-MSA's
        self.fuse = nn.Linear(3 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        of_time, of_frequency, of_window = self.qkv(tokens).chunk(3, dim=-1)
        return self.fuse(torch.cat([self.tsa(of_time), self.fsa(of_frequency), self.swa(of_window)], dim=-1))

    def last_layers(self) -> list[nn.Linear]:
        return [self.fuse]


@ARRANGEMENTS.register("serial")
class SerialAttention(ThreeAttentions):
    """TSA, then FSA, then (S)W-MSA, each between projections and with a residual around it.

    Source: the order of TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0.
    """

    def __init__(self, width_in: int, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__(width_in, width, form, shifted)
        self.project_in = nn.Linear(width_in, width)
        self.norms = nn.ModuleList(NORMS[form.norm](width) for _ in range(2))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(3))
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        attentions, norms = (self.tsa, self.fsa, self.swa), (nn.Identity(), *self.norms)
        tokens = self.project_in(tokens)
        for attention, norm, qkv, project in zip(attentions, norms, self.qkv, self.projections, strict=True):
            tokens = tokens + project(attention(qkv(norm(tokens))))
        return tokens

    def last_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.projections if isinstance(layer, nn.Linear)]


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
    """Norm → projection → the three attentions → fusion → residual, then an MLP with its own residual.

    Maps tokens (b, n, f, d) to (b, n, f, d). With `skip`, the projection merges the encoder's tokens of the same
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
        merged = 2 * width if skip else width
        self.norm_in = NORMS[form.norm](merged)
        self.attention = ARRANGEMENTS[form.arrangement](merged, width, form, shifted)
        self.norm_mlp = NORMS[form.norm](width)
        self.mlp = LocalMLP(width, mlp_ratio)

    def forward(self, tokens: Tensor, skip: Tensor | None = None) -> Tensor:
        merged = tokens if skip is None else torch.cat([tokens, skip], dim=-1)
        tokens = tokens + self.attention(self.norm_in(merged))
        return tokens + self.mlp(self.norm_mlp(tokens))


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
