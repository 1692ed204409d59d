"""What every augmentation shares: when it acts, whom it chooses, what it refuses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from tfswa_unet.errors import ConfigError


class Augmentation(nn.Module, ABC):
    """Changes stems (b, s, c, t) in training mode and hands them on untouched otherwise.

    The result has the same shape and what was given is never written to; the mixture is to be summed afterwards.
    Everything is drawn on the generator's device (the CPU's global one without it), so that no accelerator is waited
    for.

    Args:
        p: probability that one example, or one stem where stems are treated apart, is changed.
        generator: source of randomness instead of torch's global one.

    `in_workers` says of a kind that it is too slow for the training process and belongs into the loader's workers.

    Raises:
        ConfigError: an impossible setting.
    """

    in_workers: ClassVar[bool] = False

    def __init__(self, p: float = 0.5, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.p = self.within("p", p, 0, 1)
        self.generator = generator

    def forward(self, stems: Tensor) -> Tensor:
        return self.augment(stems) if self.training and self.p > 0 else stems

    @abstractmethod
    def augment(self, stems: Tensor) -> Tensor:
        """Return the changed stems (b, s, c, t), leaving those that were given as they are."""

    def to_chosen_stems(self, stems: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return stems (b, s, c, t) of which `change`, (k, c, t) → the same, was done to the k that chance chose."""
        chosen = self.chosen(len(stems) * stems.shape[1]).nonzero().flatten().to(stems.device)
        if not len(chosen):
            return stems
        flat = stems.flatten(0, 1)
        return flat.index_copy(0, chosen, change(flat[chosen])).view_as(stems)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return numbers drawn evenly from `low` up to `high`."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self._device)

    def noise(self, *shape: int) -> Tensor:
        """Return numbers drawn from the normal distribution of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator, device=self._device)

    def chosen(self, *shape: int) -> Tensor:
        """Return True with probability p, one by one."""
        return self.uniform(0, 1, *shape) < self.p

    @property
    def _device(self) -> torch.device:
        return self.generator.device if self.generator is not None else torch.device("cpu")

    @classmethod
    def within(cls, key: str, value: float, low: float, high: float = math.inf) -> float:
        """Return `value` if it is a number from `low` to `high`; raises ConfigError otherwise."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            upper = "" if high == math.inf else f" to {high}"
            raise ConfigError(
                f"{key} of augmentation {cls.__name__} is {value!r}, expected a number from {low}{upper}."
            )
        return value


def spans(augmentation: Augmentation, count: int, size: int, longest: int) -> Tensor:
    """Draw `count` masks (count, size), each True over one span of 1 to `longest` neighbours anywhere inside."""
    width = 1 + augmentation.uniform(0, min(longest, size), count, 1).floor()
    width = width.clamp(max=min(longest, size))
    first = (augmentation.uniform(0, 1, count, 1) * (size - width + 1)).floor()
    place = torch.arange(size, device=width.device)
    return (place >= first) & (place < first + width)
