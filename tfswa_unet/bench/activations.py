"""What a forward pass keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_bytes(work: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of memory that the graph of `work`'s result holds on to, parameters and buffers of `module` left out.

    Tensors that share memory count once. What checkpointing recomputes is not held, so not counted; at its peak the
    backward pass needs, besides, what one checkpointed block saves.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # Two storages cannot have one address here: what is saved stays alive as long as the graph.
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    del result  # only now may the graph, and what it saved, go
    return sum(held.values())
