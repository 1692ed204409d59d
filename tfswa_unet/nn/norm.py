"""Normalisation of tokens over their features."""

from __future__ import annotations

from torch import nn

NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


def make_norm(kind: str, width: int) -> nn.Module:
    """LayerNorm (`layer`) or RMSNorm (`rms`, arXiv 1910.07467) over the d = `width` features of (…, d)."""
    return NORMS[kind](width)
