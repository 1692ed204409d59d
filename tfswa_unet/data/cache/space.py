"""Whether a cache has room for what is to be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfswa_unet.data.cache.decode import Stem
from tfswa_unet.data.cache.pcm import SUFFIX
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.files import free_bytes

MARGIN = 1.02  # free space asked for over the bytes of the files
SPOOL = 2  # bytes of float32, held while a stem is decoded, for each byte of its file


def check(folder: Path, missing: Sequence[Stem], workers: int, max_gb: float | None) -> None:
    """Refuse stems that the disk of `folder` cannot hold, or that let the cache grow over `max_gb` · 10⁹ bytes.

    Raises DataError for the disk and ConfigError for `max_gb`.
    """
    if not missing:
        return
    sizes = sorted((stem.size for stem in missing), reverse=True)
    needed = sum(sizes)
    what = f"The cache {folder} needs {needed / 1e9:.2f} GB more for {len(sizes)} stems"
    held = sum(path.stat().st_size for path in folder.glob(f"[!.]*{SUFFIX}"))
    if max_gb is not None and held + needed > max_gb * 1e9:
        raise ConfigError(
            f"{what} and holds {held / 1e9:.2f} GB, over the {max_gb:g} GB that it may hold (--max-gb, "
            "or data.cache_max_gb): allow more, or delete what other data sets have left in it."
        )
    free = free_bytes(folder)
    if needed * MARGIN + SPOOL * sum(sizes[:workers]) > free:
        raise DataError(
            f"{what} and its disk has {free / 1e9:.2f} GB free: choose another disk (--out, or data.cache=FOLDER), or "
            "train without it (data.cache=null)."
        )
