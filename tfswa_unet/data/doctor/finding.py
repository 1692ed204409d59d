"""One thing that is wrong with a data set, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning")


@dataclass(frozen=True)
class Finding:
    """An error spoils training or scores, or keeps the data set from loading; a warning is worth a look.

    `check` names the kind of finding; `track` and `stem` are empty where it concerns more than one, and `stem` holds
    several names with commas between them where they share it. `paths` are the files or folders to be put right.
    """

    severity: Severity
    check: str
    split: str
    track: str
    stem: str
    what: str
    remedy: str
    paths: tuple[Path, ...] = ()
