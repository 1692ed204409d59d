"""The named sizes of the family, read from the same files that Hydra composes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfswa_unet.errors import unknown

FOUR_STEMS = ("vocals", "drums", "bass", "other")


def _folder(group: str) -> Path:
    """A group of conf, beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return (installed if installed.is_dir() else package.parent / "conf") / group


def choices(group: str) -> list[str]:
    """Names of the files of a configuration group."""
    return sorted(path.stem for path in _folder(group).glob("*.yaml"))


def choice(group: str, name: str) -> dict[str, Any]:
    """The values of one file of a configuration group, such as ("loss", "fast"), as `python train.py` takes them.

    Raises:
        ConfigError: for a name that the group lacks, with the nearest known one.
    """
    known = choices(group)
    if name not in known:
        raise unknown(group, name, known)
    values: Any = OmegaConf.to_container(_compose(group, name))
    return values


def names() -> list[str]:
    """Names that `model=` and `preset` take."""
    return choices("model")


def preset(name: str, stems: tuple[str, ...] = FOUR_STEMS) -> dict[str, Any]:
    """Configuration of a named model for the given stems, ready for `build`.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    return {**choice("model", name), "stems": {stem: [stem] for stem in stems}}


def _compose(group: str, name: str) -> Any:
    """One file of a group over those that its Hydra defaults name."""
    own: Any = OmegaConf.load(_folder(group) / f"{name}.yaml")
    bases = [entry for entry in own.pop("defaults", []) if entry != "_self_"]
    return OmegaConf.merge(*(_compose(group, base) for base in bases), own)
