"""Where a score comes from: code, checkpoint and library versions."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import tfswa_unet

PACKAGE = Path(tfswa_unet.__file__).resolve().parent


def commit() -> str | None:
    """The commit that this package stands at, with "+dirty" where tracked files differ; None outside git."""
    # A package installed inside somebody else's repository is not tracked there: that commit says nothing of ours.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git("rev-parse", "HEAD")
    return f"{head}+dirty" if head and _git("status", "--porcelain", "--untracked-files=no") else head


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


@cache
def source_hash() -> str:
    """SHA-256 of this package's Python files: changed code never takes over scores of older code."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str | None]:
    """Installed versions of what a score depends on; None for what is not installed."""
    return {name: _version(name) for name in ("tfswa-unet", "torch", "numpy", "museval")}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
