"""The paper's TFSWA module: time-sequence, frequency-sequence and shifted-window attention one after the other.

Source: TFSWA-ResUNet, doi 10.1186/s13634-025-01249-0; its windows are those of Swin, arXiv 2103.14030. All modules map
tokens (b, n, f, d) to (b, n, f, d).
"""

from __future__ import annotations

from torch import Tensor, nn

from tfswa_unet.nn.attention import Axis, SequenceAttention, Window, WindowAttention


class MLP(nn.Sequential):
    """Two linear layers around a GELU, `ratio` · d features wide: (…, d) → (…, d)."""

    def __init__(self, width: int, ratio: float) -> None:
        hidden = int(width * ratio)
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class SequenceBlock(nn.Module):
    """LayerNorm → self-attention along one axis → MLP with a residual around it: TSA or FSA of the paper.

    What attention along an axis gives is nearly the same for all of the axis and differs from song to song: alone, it
    leaves the batch norms behind it with statistics that fit no single song. With `residual` the tokens go around the
    attention too.

    Args:
        width: features d of a token.
        heads: attention heads; must divide d.
        mlp_ratio: hidden features of the MLP, in multiples of d.
        axis: `frame` for TSA, `bin` for FSA.
        residual: around the attention too, which the paper's figure does not have.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, axis: Axis, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention = SequenceAttention(width, width // heads, axis, rotary=False)
        self.project = nn.Linear(width, width)
        self.mlp = MLP(width, mlp_ratio)

    def forward(self, tokens: Tensor) -> Tensor:
        attended = self.project(self.attention(self.qkv(self.norm(tokens))))
        if self.residual:
            attended = tokens + attended
        return attended + self.mlp(attended)


class SwinBlock(nn.Module):
    """Attention inside windows, then an MLP, each behind a LayerNorm and inside a residual.

    Args:
        width: features d of a token.
        heads: attention heads; must divide d.
        mlp_ratio: hidden features of the MLP, in multiples of d.
        window: frames and bins of a window.
        shifted: SW-MSA instead of W-MSA.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, window: Window, shifted: bool) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention = WindowAttention(width, width // heads, window, shifted)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp_ratio)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.project(self.attention(self.qkv(self.norm_attention(tokens))))
        return tokens + self.mlp(self.norm_mlp(tokens))


class SerialTFSWA(nn.Module):
    """TSA, then FSA, then a residual branch that holds a Swin pair, W-MSA and SW-MSA.

    Args:
        width: features d of a token.
        heads: heads of every attention; must divide d.
        mlp_ratio: hidden features of every MLP, in multiples of d.
        window: frames and bins of a window.
        residual: around TSA's and FSA's attention too.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, window: Window, residual: bool) -> None:
        super().__init__()
        self.tsa = SequenceBlock(width, heads, mlp_ratio, "frame", residual)
        self.fsa = SequenceBlock(width, heads, mlp_ratio, "bin", residual)
        self.swin = nn.Sequential(*(SwinBlock(width, heads, mlp_ratio, window, shifted) for shifted in (False, True)))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.fsa(self.tsa(tokens))
        return tokens + self.swin(tokens)
