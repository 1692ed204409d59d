"""The choices of conf/ by name, so that what is measured is what `python train.py` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfswa_unet.errors import unknown


def choice(group: str, name: str) -> dict[str, Any]:
    """The values of one file of a configuration group, such as ("loss", "fast").

    Raises:
        ConfigError: for a name that the group lacks.
    """
    known = sorted(path.stem for path in (_conf() / group).glob("*.yaml"))
    if name not in known:
        raise unknown(group, name, known)
    values: Any = OmegaConf.to_container(_compose(group, name))
    return values


def _compose(group: str, name: str) -> Any:
    own: Any = OmegaConf.load(_conf() / group / f"{name}.yaml")
    bases = [entry for entry in own.pop("defaults", []) if entry != "_self_"]
    return OmegaConf.merge(*(_compose(group, base) for base in bases), own)


def _conf() -> Path:
    """Beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
