"""Sequences of augmentations, built from a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation
from tfswa_unet.errors import ConfigError

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
