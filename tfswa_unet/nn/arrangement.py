"""How the three attentions of a TFSWA block stand to each other: side by side, or one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tfswa_unet.errors import unknown
from tfswa_unet.nn.attention import SequenceAttention
from tfswa_unet.nn.norm import NORMS, make_norm
from tfswa_unet.nn.window import Window, WindowAttention


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
