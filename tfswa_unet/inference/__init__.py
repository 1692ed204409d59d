"""Mixtures to stems: arrays, streams and files of any length, in memory that does not grow with it.

Names are imported when first used, so that the command line's help need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfswa_unet.inference.files import FileResult as FileResult
    from tfswa_unet.inference.files import run_request as run_request
    from tfswa_unet.inference.files import separate_file as separate_file
    from tfswa_unet.inference.files import separate_files as separate_files
    from tfswa_unet.inference.request import InputFile as InputFile
    from tfswa_unet.inference.request import Request as Request
    from tfswa_unet.inference.separator import Separator as Separator
    from tfswa_unet.inference.stream import Cancelled as Cancelled
    from tfswa_unet.inference.stream import StemStream as StemStream

_MODULES = {
    "files": ("FileResult", "run_request", "separate_file", "separate_files"),
    "request": ("InputFile", "Request"),
    "separator": ("Separator",),
    "stream": ("Cancelled", "StemStream"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
