"""Several augmentations in a row, named in a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from tfswa_unet.data.augmentation.base import Augmentation
from tfswa_unet.data.augmentation.channel_swap import ChannelSwap
from tfswa_unet.data.augmentation.frequency_mask import FrequencyMask
from tfswa_unet.data.augmentation.gain import Gain
from tfswa_unet.data.augmentation.mixup import Mixup
from tfswa_unet.data.augmentation.pitch import Pitch
from tfswa_unet.data.augmentation.polarity import Polarity
from tfswa_unet.data.augmentation.time_mask import TimeMask
from tfswa_unet.data.augmentation.time_stretch import TimeStretch
from tfswa_unet.errors import ConfigError, unknown

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "gain": Gain,
    "channel_swap": ChannelSwap,
    "polarity": Polarity,
    "time_stretch": TimeStretch,
    "pitch": Pitch,
    "frequency_mask": FrequencyMask,
    "time_mask": TimeMask,
    "mixup": Mixup,
}

Config = Mapping[str, Mapping[str, object] | None]


class Compose(nn.Sequential):
    """Augmentations one after the other: stems (b, s, c, t) → the same; with none of them, the identity."""


def build_augmentation(config: Config | Sequence[Config] | None, generator: torch.Generator | None = None) -> Compose:
    """Return the augmentations of a mapping {name: settings}, or of a list of such mappings, in their order.

    An entry of null is left out. Raises ConfigError for an unknown name or setting and for an impossible value.
    """
    return Compose(*(_build(name, settings, generator) for name, settings in _entries(config)))


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


def _build(name: str, settings: Mapping[str, object], generator: torch.Generator | None) -> Augmentation:
    kind = AUGMENTATIONS[name]
    known = [key for key in inspect.signature(kind).parameters if key != "generator"]
    for key in settings:
        if key not in known:
            raise unknown(f"setting of augmentation.{name}", key, known)
    return kind(**settings, generator=generator)  # type: ignore[arg-type]
