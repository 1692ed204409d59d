"""Entries for torch.hub: `torch.hub.load("OWNER/REPOSITORY", "separator")`, of a repository that holds this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

# What could be called here would be taken for an entry.
if TYPE_CHECKING:
    from typing import Any

    from tfswa_unet import Separator

dependencies = [
    "torch",
    "torchaudio",
    "numpy",
    "scipy",
    "av",
    "soundfile",
    "safetensors",
    "einops",
    "omegaconf",
    "hydra",
]


def model(name: str | None = None, device: str = "cpu") -> Any:
    """A network with its weights: mixtures (b, c, t) to stems (b, s, c, t), full scale ±1, at its `rate` in Hz.

    `name` is a bundle's path, hf://owner/name, https://…#sha256=… or a packaged model's name; None for the default one.
    """
    from tfswa_unet import load
    from tfswa_unet.bundles import DEFAULT_MODEL

    return load(name or DEFAULT_MODEL, device)


def separator(name: str | None = None, **options: Any) -> Separator:
    """A model at work: `.separate(audio, rate)` takes (c, t) of any length; `options` are those of `Separator`."""
    from tfswa_unet import Separator
    from tfswa_unet.bundles import DEFAULT_MODEL

    return Separator.load(name or DEFAULT_MODEL, **options)
