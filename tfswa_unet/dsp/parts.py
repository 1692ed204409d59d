"""Complex spectrograms as two real tensors, for graphs that leave torch and runtimes that have no complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """Real and imaginary parts (..., n, f) of a spectrogram, which masks and features use as a complex tensor.

    It answers to what they ask of one: arithmetic with real tensors and with its like, sums, slices and magnitudes.
    """

    real: Tensor
    imag: Tensor

    def is_complex(self) -> bool:
        """Whether this stands for complex numbers."""
        return True

    @property
    def shape(self) -> torch.Size:
        return self.real.shape

    def abs(self) -> Tensor:
        """Magnitudes."""
        return (self.real.square() + self.imag.square()).sqrt()

    def sgn(self) -> Parts:
        """The same phases at magnitude 1; zero stays zero."""
        magnitude = self.abs()
        return self * torch.where(magnitude > 0, 1 / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny), 0.0)

    def sum(self, dim: int, keepdim: bool = False) -> Parts:
        """Sums over an axis."""
        return self._each(lambda part: part.sum(dim=dim, keepdim=keepdim))

    def __getitem__(self, index: Any) -> Parts:
        return self._each(lambda part: part[index])

    def __mul__(self, other: Tensor | Parts) -> Parts:
        if not isinstance(other, Parts):
            return Parts(self.real * other, self.imag * other)
        return Parts(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )

    __rmul__ = __mul__

    def __truediv__(self, number: float) -> Parts:
        return self._each(lambda part: part / number)

    def __add__(self, other: Parts) -> Parts:
        return Parts(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: Parts) -> Parts:
        return Parts(self.real - other.real, self.imag - other.imag)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Parts:
        return Parts(change(self.real), change(self.imag))


Complex: TypeAlias = Tensor | Parts
