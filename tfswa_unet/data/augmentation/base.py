"""What every augmentation shares, and several of them in a row, named in a configuration."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tfswa_unet.config import Registry
from tfswa_unet.errors import ConfigError

Number = TypeVar("Number", int, float)


class Augmentation(nn.Module, ABC):
    """Random change of stems (b, s, c, t) → the same shape in training mode; the identity otherwise.

    The input is never written to; the mixture is to be summed afterwards. All random numbers are drawn on the
    generator's device (the CPU's global one without it), so that no accelerator is waited for.

    A kind of it is one file of this folder, whose options conf/augmentation holds.

    Args:
        p: probability that one example, or one stem where stems are treated apart, is changed.
        generator: source of randomness instead of torch's global one.

    `in_workers` marks a kind that is too slow for the training process and runs in the loader's workers.

    Raises:
        ConfigError: an option out of range.
    """

    in_workers: ClassVar[bool] = False

    def __init__(self, *, p: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.p = self.within("p", p, 0, 1)
        self.generator = generator

    def forward(self, stems: Tensor) -> Tensor:
        return self.augment(stems) if self.training and self.p > 0 else stems

    @abstractmethod
    def augment(self, stems: Tensor) -> Tensor:
        """Return the changed stems (b, s, c, t) without writing to those that were given."""

    def to_chosen(self, items: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `change`, (k, …) → the same, to k of the items (n, …), each chosen with probability p."""
        chosen = self.chosen(len(items)).nonzero().flatten().to(items.device)
        return items.index_copy(0, chosen, change(items[chosen])) if len(chosen) else items

    def to_chosen_stems(self, stems: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `change`, (k, c, t) → the same, to k stems of (b, s, c, t), each chosen with probability p."""
        return self.to_chosen(stems.flatten(0, 1), change).view_as(stems)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw from the uniform distribution over [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self._device)

    def noise(self, *shape: int) -> Tensor:
        """Draw from the normal distribution of mean 0 and variance 1."""
        return torch.randn(shape, generator=self.generator, device=self._device)

    def chosen(self, *shape: int) -> Tensor:
        """Draw True with probability p, independently."""
        return self.uniform(0, 1, *shape) < self.p

    @property
    def _device(self) -> torch.device:
        return self.generator.device if self.generator is not None else torch.device("cpu")

    @classmethod
    def within(cls, key: str, value: Number, low: float, high: float = math.inf) -> Number:
        """Return `value` if it lies from `low` to `high`; raises ConfigError otherwise."""
        if not low <= value <= high:
            upper = "" if high == math.inf else f" to {high:g}"
            raise ConfigError(
                f"{key} of augmentation {cls.__name__} is {value:g}, expected a number from {low:g}{upper}."
            )
        return value


AUGMENTATIONS: Registry[type[Augmentation]] = Registry("augmentation", context=("generator", "rate"))


Config = Mapping[str, Mapping[str, object] | None]


class Compose(nn.Sequential):
    """Augmentations one after the other: stems (b, s, c, t) → the same; with none of them, the identity."""

    def seed(self, *numbers: int) -> None:
        """Seed the generators of the members from these numbers, each at least 0.

        Members without a generator of their own are not reached.
        """
        members = [member.generator for member in self if isinstance(member, Augmentation)]
        generators = {id(generator): generator for generator in members if generator is not None}
        if generators:
            words = np.random.SeedSequence(numbers).generate_state(len(generators), np.uint64)
            for generator, word in zip(generators.values(), words.tolist(), strict=True):
                generator.manual_seed(word)


def build_augmentation(
    config: Config | Sequence[Config] | None, generator: torch.Generator | None = None, rate: int = 44_100
) -> Compose:
    """Build the augmentations of a mapping {name: options}, or of a list of such mappings, in the order given.

    An entry of null is left out. Raises ConfigError for an unknown name and a missing, unknown or wrong option.

    Args:
        config: the mapping, or the list.
        generator: source of randomness; without it they share one of their own, which starts from torch's seed.
        rate: sample rate in Hz, for the kinds that need it.
    """
    if generator is None:
        generator = torch.Generator().manual_seed(torch.initial_seed())
    kinds = (AUGMENTATIONS.bind(name, options, generator=generator, rate=rate) for name, options in _entries(config))
    return Compose(*(kind() for kind in kinds))


def split(config: Config | Sequence[Config] | None) -> tuple[list[Config], list[Config]]:
    """Split a configuration into the augmentations of the loader's workers and those of batches, each in its order.

    Raises ConfigError for an unknown name.
    """
    for_workers: list[Config] = []
    for_batches: list[Config] = []
    for name, options in _entries(config):
        (for_workers if AUGMENTATIONS[name].in_workers else for_batches).append({name: options})
    return for_workers, for_batches


def _entries(config: Config | Sequence[Config] | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    for mapping in [config or {}] if isinstance(config, Mapping | None) else config:
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"augmentation holds {mapping!r}, expected a mapping such as gain: {{p: 0.5}}.")
        for name, options in mapping.items():
            AUGMENTATIONS[name]  # an unknown name is refused even where it is null
            if options is None:
                continue
            if not isinstance(options, Mapping):
                raise ConfigError(f"augmentation.{name} is {options!r}, expected its options, such as {{p: 0.5}}.")
            yield name, options
