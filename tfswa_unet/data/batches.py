"""Whole batches from the workers to the trainer, through memory that is used again and again.

Fresh shared memory costs a worker several times what reading its examples does: every page is found, cleared, mapped
and freed. So each worker keeps the few blocks that can be on their way at once, and the trainer copies out of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info


class Examples(Protocol):
    """A data set that writes its examples, all of one `shape` (s, c, t), where it is told to."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def fill(self, example: Tensor, item: int) -> None: ...


def loader(
    examples: Examples, batch_size: int, workers: int, sampler: Sampler[int], drop_last: bool = False
) -> DataLoader[Tensor]:
    """Return a loader of batches (b, s, c, t) in float32, pinned where there is a GPU; its workers stay.

    The batches are those of a plain `DataLoader`, whatever the number of workers, and belong to whoever takes them.
    """
    return DataLoader(
        _Batches(examples),
        batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
    )


def empty(shape: Sequence[int]) -> Tensor:
    """Return memory for float32 samples; NumPy's, which asks the system for large pages."""
    return torch.from_numpy(np.empty(tuple(shape), np.float32))


class _Batches(Dataset[Tensor]):
    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, items: Sequence[int]) -> Tensor | _Block:
        shape = (len(items), *self.examples.shape)
        if get_worker_info() is None:
            return self._filled(empty(shape), items)
        block = self._free(prod(shape))
        self._filled(block.batch(shape), items)
        return block.sent(shape)

    def _filled(self, batch: Tensor, items: Sequence[int]) -> Tensor:
        for example, item in zip(batch, items, strict=True):
            self.examples.fill(example, item)
        return batch

    def _free(self, size: int) -> _Block:
        """A block that nobody waits for; there are never more of them than batches on their way."""
        block = next((block for block in self._blocks if block.is_free and block.size >= size), None)
        if block is None:
            block = _Block(size)
            self._blocks.append(block)
        return block


class _Block:
    """Shared memory for `size` samples and a mark that they are on their way; it arrives as a Tensor of its own."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Tensor.share_memory_ would first copy what is not there yet.
        storage = torch.UntypedStorage._new_shared(4 * (size + 1))
        self._memory = torch.empty(0).set_(storage, 0, (size + 1,), (1,))
        self._shape: tuple[int, ...] = ()

    @property
    def is_free(self) -> bool:
        return not self._memory[-1]

    def batch(self, shape: tuple[int, ...]) -> Tensor:
        return _batch(self._memory, shape)

    def sent(self, shape: tuple[int, ...]) -> _Block:
        self._shape, self._memory[-1] = shape, 1
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._memory, self._shape)


def _arrived(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    batch = empty(shape).copy_(_batch(memory, shape))
    memory[-1] = 0
    return batch


def _batch(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    return memory[: prod(shape)].view(shape)


def _as_it_is(batch: Any) -> Any:
    return batch
