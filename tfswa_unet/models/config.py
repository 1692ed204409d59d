"""What a model is made of: its configuration, the named presets, and the networks among which they choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from tfswa_unet.config import Registry, choice, choices
from tfswa_unet.dsp import MASKS
from tfswa_unet.errors import ConfigError
from tfswa_unet.nn import Chain, Stage
from tfswa_unet.types import STEMS

Features = Literal["complex", "magnitude", "both"]
FEATURE_MAPS: dict[Features, int] = {"complex": 2, "magnitude": 1, "both": 3}  # of each channel
# Networks by `model.architecture`: made of (maps in, maps out, bins, an instance of their `config_type`).
NETWORKS: Registry[Any] = Registry("model.architecture")


class Network(nn.Module):
    """A network whose stages and chains can recompute their activations; maps (b, c, n, f) → (b, c', n, f)."""

    config_type: ClassVar[type]
    model_type: ClassVar[type | None] = None  # what wraps it, where that is no plain `SpectralModel`

    @property
    def checkpointing(self) -> bool:
        """Whether training recomputes each block's activations in the backward pass instead of keeping them."""
        return any(module.checkpointing for module in self.modules() if isinstance(module, Stage | Chain))

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        for module in self.modules():
            if isinstance(module, Stage | Chain):
                module.checkpointing = on

    def regions(self) -> list[nn.Module]:
        """The blocks that repeat, inner ones first: what is compiled, or cut over devices, each by itself."""
        held = [module for module in self.modules() if isinstance(module, Stage | Chain)]
        return [layer for module in held for layer in (module.blocks if isinstance(module, Stage) else module)][::-1]

    def last_layers(self) -> list[nn.Module]:
        """The linear layers whose sum is the output."""
        raise NotImplementedError


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
    features: Features  # what of the mixture the network sees
    compression: float  # of magnitudes before the network: log(1 + compression · |X|); 0 leaves them as they are
    mask: str
    sums_to_mixture: bool
    network: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.stems:
            raise ConfigError("a model needs at least one stem: set stems=four, for instance")
        if not 0 < self.hop < self.n_fft // 2 + 1:
            raise ConfigError(f"model.hop={self.hop} must lie between 1 and half of model.n_fft={self.n_fft}")
        if self.subbands < 1 or (self.n_fft // 2) % self.subbands:
            raise ConfigError(f"model.subbands={self.subbands} must divide n_fft / 2 = {self.n_fft // 2}")
        if self.compression < 0:
            raise ConfigError(f"model.compression={self.compression} must be 0 (none) or above")
        MASKS[self.mask]  # refuses an unknown one
        if self.sums_to_mixture and len(self.stems) == 1:
            raise ConfigError(
                f"the stem {next(iter(self.stems))!r} alone would be the whole mixture, nothing to separate: "
                "name another beside it, such as stems=[vocals,accompaniment], or set model.sums_to_mixture=false"
            )

    @property
    def maps_in(self) -> int:
        """Feature maps that the network sees."""
        return self.channels * FEATURE_MAPS[self.features] * self.subbands

    @property
    def hidden_rest(self) -> bool:
        """Whether the network gives one more stem, which nobody sees: what a mask that is complete leaves to others.

        Without it, stems that are not all of the mixture would be forced to sum to it, and one stem would be it.
        """
        return MASKS[self.mask].complete and not self.sums_to_mixture

    @property
    def maps_out(self) -> int:
        """Feature maps that the network gives."""
        return (len(self.stems) + self.hidden_rest) * self.channels * MASKS[self.mask].maps * self.subbands

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
                f"model.network.scales: {scale:g} times model.n_fft={self.n_fft} and model.hop={self.hop} gives "
                f"{n_fft:g} and {hop:g}: expected whole numbers, n_fft a multiple of {2 * self.subbands}"
            )
        return int(n_fft), int(hop)


def names() -> list[str]:
    """Names that `model=` and `preset` take."""
    return choices("model")


def preset(name: str, stems: tuple[str, ...] = STEMS) -> dict[str, Any]:
    """Configuration of a named model for the given stems, ready for `build`.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    values = choice("model", name)
    # One stem is never all of a mixture.
    sums = values["sums_to_mixture"] and len(stems) > 1
    return {**values, "stems": {stem: [stem] for stem in stems}, "sums_to_mixture": sums}
