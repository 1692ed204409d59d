"""Stem activity, learned beside the stems: in which frames each stem sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import WeightedLoss, objective


@dataclass(frozen=True)
class ActivityConfig:
    """See conf/activity."""

    weight: float
    threshold: float  # dB full scale
    bands: int

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(f"activity.weight is {self.weight:g}, expected more than 0, or activity=none")
        if self.bands < 1:
            raise ConfigError(f"activity.bands is {self.bands}, expected 1 or more")


class ActivityHead(nn.Module):
    """Tell from the features that the network makes its masks of in which frames each stem sounds.

    Features (b, d, n, f) are averaged over bins to bands, and one linear layer maps those of a frame to a logit a stem.
    It serves training alone: it reads a network as it is, and bundles are without it.

    Args:
        config: see conf/activity.
        model: what `models.build` gives.

    Raises:
        ConfigError: for impossible values.
    """

    def __init__(self, config: Mapping[str, Any], model: Any) -> None:
        super().__init__()
        self.config = from_values(ActivityConfig, config, "activity")
        width = next(iter(model.network.last_layers()[0].parameters())).shape[1]
        self.project = nn.Linear(width * self.config.bands, len(model.stems))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (b, s, n) of features (b, d, n, f), in float32."""
        with torch.autocast(features.device.type, enabled=False):
            bands = F.adaptive_avg_pool2d(features.float(), (features.shape[2], self.config.bands))
            return self.project(bands.transpose(1, 2).flatten(2)).transpose(1, 2)

    def objective(self, model: Any, loss: WeightedLoss, stems: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """`losses.objective`, and the cross-entropy of the activity as its term `activity`, by the weight."""
        with _last_features(model.network) as seen:
            total, parts = objective(model, loss, stems, step)
        c = model.model_config
        sounding = activity(stems[:, : len(model.stems)], c.n_fft, c.hop, self.config.threshold)
        term = F.binary_cross_entropy_with_logits(self(seen[0])[..., : sounding.shape[-1]], sounding)
        return total + self.config.weight * term, {**parts, "activity": term.detach()}


def activity(stems: Tensor, window: int, hop: int, threshold: float) -> Tensor:
    """Whether each stem sounds in each frame, 1 or 0: (b, s, c, t) → (b, s, n).

    Args:
        stems: waveforms.
        window: samples around a frame whose level counts; even.
        hop: samples from one frame to the next, as `dsp.stft` places them.
        threshold: of the level (RMS) in dB full scale.
    """
    energy = F.avg_pool1d(stems.square().mean(dim=2), window, hop, padding=window // 2, count_include_pad=False)
    return (energy > 10 ** (threshold / 10)).float()


@contextmanager
def _last_features(network: Any) -> Iterator[list[Tensor]]:
    """What the last layers are given in each pass inside, maps (b, d, n, f)."""
    seen: list[Tensor] = []
    last = network.last_layers()[0]
    channels_last = isinstance(last, nn.Linear)

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].permute(0, 3, 1, 2) if channels_last else given[0])

    handle = last.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
