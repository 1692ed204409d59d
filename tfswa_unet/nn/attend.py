"""Scaled dot-product attention by whichever kernel is faster for the size at hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Measured on CPUs: below these sequence lengths two batched matrix products beat the fused kernel, whose backward pass
# recomputes what a short softmax can keep.
PLAIN_BELOW_FORWARD = 64
PLAIN_BELOW_BACKWARD = 129


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention of queries over keys, the heads apart.

    Args:
        q: queries (..., h, tokens, e), e the width of a head; leading axes are independent sequences.
        k: keys of the same shape.
        v: values of the same shape.
        bias: added to the scores before the softmax, broadcast to (..., h, tokens, tokens).

    Returns:
        (..., h, tokens, e).
    """
    tokens = q.shape[-2]
    limit = PLAIN_BELOW_BACKWARD if torch.is_grad_enabled() and q.requires_grad else PLAIN_BELOW_FORWARD
    if q.device.type != "cpu" or tokens >= limit:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ v
