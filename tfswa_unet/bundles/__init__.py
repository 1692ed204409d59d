"""Models by name: the bundles in this folder, which come with the package, and those that are fetched from elsewhere.

A packaged model is known by its file's name without the ending; what lies elsewhere by its URL or as hf://owner/name.
"""

from __future__ import annotations

import re
from pathlib import Path

DEFAULT_MODEL = "tfswa_open_small"  # what separates where no model is named
FOLDER = Path(__file__).parent
REMOTE = re.compile(r"(https?|hf):/+(?=[^/])")  # one slash is left where a name went through a Path


def packaged() -> dict[str, Path]:
    """Bundles that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("[!.]*.safetensors"))}
