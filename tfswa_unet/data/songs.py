"""A song as the layouts find it: by file names alone, before any file has been opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.types import Source, Split


@dataclass(frozen=True)
class Song:
    """One song of a data set, `split` being the folder that it lies in ("train" where there are no such folders)."""

    name: str
    split: Split
    sources: Mapping[str, Source]
    mixture: Source | None = None


def entries(folder: Path) -> list[Path]:
    """Return what lies in `folder` by name, without hidden files; nothing where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
