"""The named sizes of the family, read from the same files that Hydra composes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfswa_unet.errors import unknown

FOUR_STEMS = ("vocals", "drums", "bass", "other")


def _folder() -> Path:
    """conf/model beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    installed = package / "conf" / "model"
    return installed if installed.is_dir() else package.parent / "conf" / "model"


def names() -> list[str]:
    """Names that `model=` and `preset` take."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def preset(name: str, stems: tuple[str, ...] = FOUR_STEMS) -> dict[str, Any]:
    """Configuration of a named model for the given stems, ready for `build`.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    known = names()
    if name not in known:
        raise unknown("model", name, known)
    values = OmegaConf.to_container(_compose(name))
    assert isinstance(values, dict)
    return {**{str(key): value for key, value in values.items()}, "stems": {stem: [stem] for stem in stems}}


def _compose(name: str) -> Any:
    """One file of the group over those that its Hydra defaults name."""
    own: Any = OmegaConf.load(_folder() / f"{name}.yaml")
    bases = [entry for entry in own.pop("defaults", []) if entry != "_self_"]
    return OmegaConf.merge(*(_compose(base) for base in bases), own)
