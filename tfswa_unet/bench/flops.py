"""Floating-point operations of matrix products, attention and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def count_flops(work: Callable[[], object]) -> int:
    """Operations of a forward pass, a multiplication and an addition counting as two; transforms are not counted."""
    # torch counts the fused attention kernels of GPUs, but not the one of CPUs.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={fused: _attention}) as counter:
        work()
    return counter.get_total_flops()


def flops_per_second(model: Any) -> int:
    """Operations of one second of audio."""
    return count_flops(lambda: model(torch.randn(1, model.channels, model.rate)))


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)
