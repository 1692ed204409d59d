"""The mixture, held back until the stems that lag behind it are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np


class Delay:
    """A queue of samples: blocks (c, t) go in as they pass by, blocks of other lengths come out."""

    def __init__(self) -> None:
        self._blocks: deque[np.ndarray] = deque()

    def remember(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand the blocks (c, t) on, keeping what has not been popped."""
        for block in blocks:
            self._blocks.append(block)
            yield block

    def pop(self, length: int) -> np.ndarray:
        """Take the oldest `length` samples, (c, t); there must be as many."""
        parts = []
        while length > 0:
            block = self._blocks.popleft()
            parts.append(block[:, :length])
            if block.shape[1] > length:
                self._blocks.appendleft(block[:, length:])
            length -= parts[-1].shape[1]
        return np.concatenate(parts, axis=1)
