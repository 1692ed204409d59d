"""TFSWA-UNet in real time: a U of causal convolutions and TFSWA blocks that pools bins alone, frame after frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tfswa_unet.errors import ConfigError
from tfswa_unet.models.config import NETWORKS, Network
from tfswa_unet.models.realtime import RealtimeModel
from tfswa_unet.models.tfswa_unet import initialise
from tfswa_unet.nn import CausalBlock, CausalForm, CausalHead, CausalStem, Chain, FrameMemory


@dataclass(frozen=True)
class TFSWARealtimeConfig:
    """Sizes of the network; conf/model/tfswa_realtime.yaml holds their values."""

    convolutions: tuple[int, ...]  # widths of the RCMs before tokens, each of which halves the bins
    width: int  # features of a token
    depth: int  # causal TFSWA blocks
    mlp_ratio: float
    head_width: int
    past: int  # frames that TSA sees
    window: tuple[int, int]  # past frames and bins that W-MSA sees
    norm: str  # of tokens: layer or rms
    level_seconds: float  # time constant of the level that the mixture is divided by

    def __post_init__(self) -> None:
        for name in ("convolutions", "window"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ConfigError(f"model.network.{name} must be numbers from 1, got {list(getattr(self, name))}")
        if self.depth < 0 or self.past < 1:
            raise ConfigError(
                f"model.network.depth={self.depth} must be 0 or above, model.network.past={self.past} 1 or above"
            )
        if self.head_width < 1 or self.width % self.head_width:
            raise ConfigError(f"model.network.head_width={self.head_width} must divide width={self.width}")
        if not 0 < self.level_seconds < float("inf"):
            raise ConfigError(f"model.network.level_seconds={self.level_seconds} must be above 0")


@NETWORKS.register("tfswa_realtime")
class TFSWARealtime(Network):
    """Map spectrogram maps (b, c_in, n, f) to (b, c_out, n, f), each frame from itself and those before it.

    Stem of RCMs, each followed by an average over pairs of bins → blocks whose W-MSA and SW-MSA alternate → head, which
    mirrors the stem. Convolutions see two frames back, TSA `past` and W-MSA `window[0]` frames with their own; frames
    are never pooled. With a `FrameMemory` the frames may come some at a time.

    Raises:
        ConfigError: when f cannot be halved as often as there are convolutions.
    """

    config_type: ClassVar[type] = TFSWARealtimeConfig
    model_type: ClassVar[type | None] = RealtimeModel
    frame_multiple = 1

    def __init__(self, maps_in: int, maps_out: int, bins: int, config: TFSWARealtimeConfig) -> None:
        super().__init__()
        widths = config.convolutions
        columns = bins >> len(widths)
        if columns << len(widths) != bins or not columns:
            raise ConfigError(
                f"{bins} bins cannot be halved {len(widths)} times: change model.n_fft, model.subbands or the number "
                "of model.network.convolutions"
            )
        self.level_seconds = config.level_seconds
        form = CausalForm(columns, config.head_width, config.past, config.window, config.norm)
        self.stem = CausalStem(maps_in, widths, config.width)
        self.frequency_embedding = nn.Parameter(torch.zeros(columns, config.width))
        self.blocks = Chain(
            *(CausalBlock(config.width, form, index % 2 == 1, config.mlp_ratio) for index in range(config.depth))
        )
        self.head = CausalHead(config.width, widths, maps_out)
        initialise(self)

    def forward(self, maps: Tensor, memory: FrameMemory | None = None) -> Tensor:
        skips, tokens = self.stem(maps, memory)
        tokens = self.blocks(tokens + self.frequency_embedding, memory)
        maps = self.head(tokens, skips, memory)
        if memory is not None:
            memory.frames += maps.shape[2]
        return maps

    def last_layers(self) -> list[nn.Module]:
        return [self.head.project]
