"""Several augmentations in a row, named in a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.effects import Distortion, Equaliser, Reverb
from tfswa_unet.data.augmentation.levels import ChannelSwap, Gain, Loudness, Polarity
from tfswa_unet.data.augmentation.masks import FrequencyMask, TimeMask
from tfswa_unet.data.augmentation.mp3 import Mp3
from tfswa_unet.data.augmentation.pitch import Pitch, TimeStretch
from tfswa_unet.data.augmentation.remix import Bleed, Mixup, Remix
from tfswa_unet.errors import ConfigError, unknown

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "gain": Gain,
    "channel_swap": ChannelSwap,
    "polarity": Polarity,
    "time_stretch": TimeStretch,
    "pitch": Pitch,
    "mp3": Mp3,
    "eq": Equaliser,
    "reverb": Reverb,
    "distortion": Distortion,
    "bleed": Bleed,
    "loudness": Loudness,
    "frequency_mask": FrequencyMask,
    "time_mask": TimeMask,
    "remix": Remix,
    "mixup": Mixup,
}

Config = Mapping[str, Mapping[str, object] | None]


class Compose(nn.Sequential):
    """Augmentations one after the other: stems (b, s, c, t) → the same; with none of them, the identity."""

    def seed(self, *numbers: int) -> None:
        """Let what is drawn from now on depend on these numbers, each at least 0, alone.

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
    """Return the augmentations of a mapping {name: settings}, or of a list of such mappings, in their order.

    An entry of null is left out. Raises ConfigError for an unknown name or setting and for an impossible value.

    Args:
        config: the mapping, or the list.
        generator: source of randomness; without it they share one of their own, which starts from torch's seed.
        rate: sample rate in Hz, for the kinds whose settings need and do not name it.
    """
    if generator is None:
        generator = torch.Generator().manual_seed(torch.initial_seed())
    return Compose(*(_build(name, settings, generator, rate) for name, settings in _entries(config)))


def split(config: Config | Sequence[Config] | None) -> tuple[list[Config], list[Config]]:
    """Divide a configuration into what the loader's workers do and what is done to batches, each in its order.

    Raises ConfigError for an unknown name.
    """
    for_workers: list[Config] = []
    for_batches: list[Config] = []
    for name, settings in _entries(config):
        (for_workers if AUGMENTATIONS[name].in_workers else for_batches).append({name: settings})
    return for_workers, for_batches


def _entries(config: Config | Sequence[Config] | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    for mapping in [config or {}] if isinstance(config, Mapping | None) else config:
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"augmentation holds {mapping!r}, expected a mapping such as gain: {{p: 0.5}}.")
        for name, settings in mapping.items():
            if name not in AUGMENTATIONS:
                raise unknown("augmentation", name, AUGMENTATIONS)
            if settings is None:
                continue
            if not isinstance(settings, Mapping):
                raise ConfigError(f"augmentation.{name} is {settings!r}, expected its settings, such as {{p: 0.5}}.")
            yield name, settings


def _build(name: str, settings: Mapping[str, object], generator: torch.Generator, rate: int) -> Augmentation:
    kind = AUGMENTATIONS[name]
    known = [key for key in inspect.signature(kind).parameters if key != "generator"]
    for key in settings:
        if key not in known:
            raise unknown(f"setting of augmentation.{name}", key, known)
    given = {"rate": rate} if "rate" in known else {}
    return kind(**{**given, **settings}, generator=generator)  # type: ignore[arg-type]
