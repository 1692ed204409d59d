"""The TFSWA block, and stages and chains of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tfswa_unet.errors import unknown
from tfswa_unet.nn.attention import SequenceAttention, Window, WindowAttention

NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


def make_norm(kind: str, width: int) -> nn.Module:
    """LayerNorm (`layer`) or RMSNorm (`rms`, arXiv 1910.07467) over the d = `width` features of (…, d)."""
    return NORMS[kind](width)


@dataclass(frozen=True)
class BlockForm:
    """What all TFSWA blocks of a network share.

    Raises:
        ConfigError: for an unknown arrangement or norm.
    """

    head_width: int  # features of a head; must divide every block's width
    window: Window  # tokens along frames, along bins
    rotary: bool = True  # rotary positions in TSA and FSA
    arrangement: str = "parallel"
    norm: str = "layer"

    def __post_init__(self) -> None:
        if self.arrangement not in ARRANGEMENTS:
            raise unknown("model.network.arrangement", self.arrangement, ARRANGEMENTS)
        if self.norm not in NORMS:
            raise unknown("model.network.norm", self.norm, NORMS)


class _ThreeAttentions(nn.Module):
    def __init__(self, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__()
        self.tsa = SequenceAttention(width, form.head_width, "frame", form.rotary)
        self.fsa = SequenceAttention(width, form.head_width, "bin", form.rotary)
        self.swa = WindowAttention(width, form.head_width, form.window, shifted)


class ParallelAttention(_ThreeAttentions):
    """TSA, FSA and (S)W-MSA of the same tokens, fused by a linear layer: (b, n, f, d) → (b, n, f, d)."""

    def __init__(self, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__(width, form, shifted)
        self.fuse = nn.Linear(3 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fuse(torch.cat([self.tsa(tokens), self.fsa(tokens), self.swa(tokens)], dim=-1))

    def last_layers(self) -> list[nn.Linear]:
        """The linear layers whose output joins the residual stream."""
        return [self.fuse]


class SerialAttention(_ThreeAttentions):
    """TSA, then FSA, then (S)W-MSA, each with its projection and a residual around it: (b, n, f, d) → (b, n, f, d).

    Source: the order of TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0.
    """

    def __init__(self, width: int, form: BlockForm, shifted: bool) -> None:
        super().__init__(width, form, shifted)
        self.norms = nn.ModuleList(make_norm(form.norm, width) for _ in range(2))
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        of_time, of_frequency, of_window = self.projections
        before_fsa, before_swa = self.norms
        tokens = tokens + of_time(self.tsa(tokens))
        tokens = tokens + of_frequency(self.fsa(before_fsa(tokens)))
        return tokens + of_window(self.swa(before_swa(tokens)))

    def last_layers(self) -> list[nn.Linear]:
        """The linear layers whose output joins the residual stream."""
        return [layer for layer in self.projections if isinstance(layer, nn.Linear)]


ARRANGEMENTS: dict[str, type[ParallelAttention] | type[SerialAttention]] = {
    "parallel": ParallelAttention,
    "serial": SerialAttention,
}


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


class Chain(nn.Sequential):
    """Layers of one input and one output in a row.

    With `checkpointing`, training keeps the input of each layer only and runs it again in the backward pass: less
    memory for one more forward pass, the same gradients and running statistics. Source: arXiv 1604.06174.
    """

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, use_reentrant=False, context_fn=partial(_contexts, layer))
            else:
                x = layer(x)
        return x


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the forward pass of a checkpointed layer, and its recomputation."""
    return nullcontext(), _statistics_left_alone(layer)


@contextmanager
def _statistics_left_alone(layer: nn.Module) -> Iterator[None]:
    """Keep the batch norms of a layer from counting a batch twice because it is computed twice."""
    kept = [
        (norm, norm.momentum, norm.num_batches_tracked)
        for norm in layer.modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked is not None
    ]
    for norm, _, count in kept:
        # Without running statistics at all the recomputation would save other tensors than the forward pass did.
        norm.momentum, norm.num_batches_tracked = 0.0, count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count
