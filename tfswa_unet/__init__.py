"""Music source separation with the TFSWA-UNet family.

    from tfswa_unet import Separator, load

    separator = Separator(load("model.safetensors"))
    stems = separator.separate(audio, rate)

`load()` and `Separator.load()` give the model that comes with the package.
Names are imported when first used, so that `import tfswa_unet` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfswa_unet import models as models
    from tfswa_unet.bundle import load_model as load
    from tfswa_unet.inference import Separator as Separator

__all__ = ["Separator", "load", "models", "__version__"]

_HOMES = {"Separator": ("tfswa_unet.inference", "Separator"), "load": ("tfswa_unet.bundle", "load_model")}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    if name == "models":
        return import_module("tfswa_unet.models")
    if name == "__version__":
        from importlib.metadata import version

        return version("tfswa-unet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
