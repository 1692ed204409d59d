"""Everything that makes a model but its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tfswa_unet.dsp import mask_maps
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.types import STEMS

FEATURES = {"complex": 2, "magnitude": 1, "both": 3}


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of a model; travels as JSON in bundles and checkpoints."""

    name: str
    architecture: str
    stems: dict[str, Any]  # output stem → the source stems it sums, or "rest", as in conf/stems
    rate: int  # Hz
    channels: int
    n_fft: int  # samples
    hop: int  # samples
    subbands: int
    features: str  # what of the mixture the network sees: complex, magnitude or both
    compression: float  # of magnitudes before the network: log(1 + compression · |X|); 0 leaves them as they are
    mask: str
    sums_to_mixture: bool
    network: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stems:
            raise ConfigError("a model needs at least one stem: set stems=four, for instance")
        if self.features not in FEATURES:
            raise unknown("model.features", self.features, FEATURES)
        if not 0 < self.hop < self.n_fft // 2 + 1:
            raise ConfigError(f"model.hop={self.hop} must lie between 1 and half of model.n_fft={self.n_fft}")
        if self.subbands < 1 or (self.n_fft // 2) % self.subbands:
            raise ConfigError(f"model.subbands={self.subbands} must divide n_fft / 2 = {self.n_fft // 2}")
        if self.compression < 0:
            raise ConfigError(f"model.compression={self.compression} must be 0 (none) or above")
        mask_maps(self.mask)

    @property
    def maps_in(self) -> int:
        """Feature maps that the network sees."""
        return self.channels * FEATURES[self.features] * self.subbands

    @property
    def maps_out(self) -> int:
        """Feature maps that the network gives."""
        return len(self.stems) * self.channels * mask_maps(self.mask) * self.subbands

    @property
    def bins(self) -> int:
        """Bins f of each map."""
        return self.n_fft // 2 // self.subbands

    def resolution(self, scale: float) -> tuple[int, int]:
        """(n_fft, hop) in samples, each `scale` times the model's.

        Raises:
            ConfigError: where these are not whole, or the subbands do not divide n_fft / 2.
        """
        n_fft, hop = self.n_fft * scale, self.hop * scale
        if n_fft % (2 * self.subbands) or hop % 1:
            raise ConfigError(
                f"model.network.scales: {scale} times model.n_fft={self.n_fft} and model.hop={self.hop} gives "
                f"{n_fft:g} and {hop:g}: expected whole numbers, n_fft a multiple of {2 * self.subbands}"
            )
        return int(n_fft), int(hop)


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


def preset(name: str, stems: tuple[str, ...] = STEMS) -> dict[str, Any]:
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
