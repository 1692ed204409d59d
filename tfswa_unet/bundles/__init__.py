"""Models that come with the package: the bundles in this folder, each known by its file's name without the ending."""

from __future__ import annotations

from pathlib import Path

DEFAULT_MODEL = "tfswa_open_small"  # what separates where no model is named
FOLDER = Path(__file__).parent


def packaged() -> dict[str, Path]:
    """Bundles that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("[!.]*.safetensors"))}
