"""TFSWA-UNet that sees the mixture at several STFT resolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.errors import ConfigError
from tfswa_unet.models.config import NETWORKS
from tfswa_unet.models.tfswa_unet import TFSWAUNet, TFSWAUNetConfig, initialise, make_stage
from tfswa_unet.nn import PatchStem
from tfswa_unet.nn.conv import Patch


@dataclass(frozen=True)
class TFSWAMultiscaleConfig(TFSWAUNetConfig):
    """Sizes of the network, and at what multiples of the model's n_fft and hop it sees the mixture besides."""

    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(
                f"model.network.scales={list(self.scales)} must be a list of one or more numbers above 0, "
                "such as [0.5, 2] for half and twice the model's n_fft and hop"
            )
        for scale in self.scales:
            self.patch_at(scale)

    def patch_at(self, scale: float) -> Patch:
        """The patch that covers at `scale` times n_fft and hop the same time and band as `token` does at the model's.

        Raises:
            ConfigError: where that is not a whole number of frames and bins.
        """
        frames, bins = self.token[0] / scale, self.token[1] * scale
        if frames % 1 or bins % 1:
            raise ConfigError(
                f"model.network.scales: at {scale:g} a token of {self.token[0]} frames and {self.token[1]} bins "
                f"becomes {frames:g} and {bins:g}, which must be whole: change model.network.patch or the scale"
            )
        return int(frames), int(bins)


class Stream(nn.Module):
    """One more view of the mixture on the U's token grid: maps (b, c, n', f') → tokens (b, n, f, d).

    Stem → TFSWA blocks of its own → projection. Summing the streams' projections is a linear fusion of all their
    features.

    Args:
        maps: number of maps c.
        columns: tokens f along the bins.
        patch: frames and bins of a token.
        config: sizes; those of the U's first stage hold here.
    """

    def __init__(self, maps: int, columns: int, patch: Patch, config: TFSWAUNetConfig) -> None:
        super().__init__()
        width = config.widths[0]
        self.stem = PatchStem(maps, config.detail or config.convolutions[0], width, patch)
        self.frequency_embedding = (
            nn.Parameter(0.3 * torch.randn(columns, width)) if config.frequency_embedding else None
        )
        self.stage = make_stage(config, 0, skip=False)
        self.project = nn.Linear(width, width)

    def forward(self, maps: Tensor, rows: int) -> Tensor:
        """Tokens of `rows` along the frames; the maps are padded to as many."""
        _, tokens = self.stem(F.pad(maps, (0, 0, 0, rows * self.stem.patch[0] - maps.shape[2])))
        if self.frequency_embedding is not None:
            tokens = tokens + self.frequency_embedding
        return self.project(self.stage(tokens))


@NETWORKS.register("tfswa_multiscale")
class TFSWAMultiscale(TFSWAUNet):
    """Map maps (b, c_in, n, f), and those of the same mixture at each of `scales`, to (b, c_out, n, f).

    A short window tells when a drum is hit, a long one which of two bass notes sounds. Frames centred on every hop-th
    sample and a patch scaled with them put a moment and a band on the same token at every resolution, so that the
    streams' tokens are summed into the U's before its first stage, which thereby is the first to see all of them. Masks
    and what the loss reads stay at the model's own resolution.

    Raises:
        ConfigError: as `TFSWAUNet` does.
    """

    config_type: ClassVar[type] = TFSWAMultiscaleConfig

    def __init__(self, maps_in: int, maps_out: int, bins: int, config: TFSWAMultiscaleConfig) -> None:
        super().__init__(maps_in, maps_out, bins, config)
        self.scales = config.scales
        columns = bins // config.token[1]
        self.streams = nn.ModuleList(
            Stream(maps_in, columns, config.patch_at(scale), config) for scale in config.scales
        )
        initialise(self)

    def forward(self, maps: Tensor, *scaled: Tensor) -> Tensor:
        n = maps.shape[2]
        points, tokens = self.stem(F.pad(maps, (0, 0, 0, -n % self.frame_multiple)))
        for stream, seen in zip(self.streams, scaled, strict=True):
            tokens = tokens + stream(seen, tokens.shape[1])
        return self.from_tokens(points, tokens)[:, :, :n]
