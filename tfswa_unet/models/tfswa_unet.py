"""TFSWA-UNet: a U of TFSWA blocks on patches of a spectrogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.errors import ConfigError
from tfswa_unet.models.config import NETWORKS, Network
from tfswa_unet.nn import BlockForm, CausalBlock, ConvHead, ConvStem, Down, PatchHead, PatchStem, Stage, TFSWABlock, Up


@dataclass(frozen=True)
class TFSWAUNetConfig:
    """Sizes of the network; the presets under conf/model hold their values.

    `widths` and `depths` have one entry a resolution, the last being the bottleneck's; the decoder mirrors the encoder.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    convolutions: tuple[int, ...]  # widths of the conv blocks before tokens, each of which halves the resolution
    patch: tuple[int, int] | None  # or else the frames and bins of a token,
    detail: int | None  # and the features of a point at full resolution
    window: tuple[int, int]  # tokens along frames, along bins
    head_width: int
    rotary: bool
    frequency_embedding: bool
    arrangement: str  # of TSA, FSA and W-MSA in a block: parallel or serial
    norm: str  # of tokens: layer or rms

    def __post_init__(self) -> None:
        none, both = self.patch is self.detail is None, bool(self.patch and self.detail)
        if not (none if self.convolutions else both):
            raise ConfigError(
                "model.network takes either convolutions, with patch=null detail=null, or convolutions=[] and both, "
                f"got convolutions={list(self.convolutions)} patch={self.patch} detail={self.detail}"
            )
        if not len(self.widths) == len(self.depths) == len(self.mlp_ratios):
            raise ConfigError(
                f"widths, depths and mlp_ratios need one entry a stage each, got {len(self.widths)}, "
                f"{len(self.depths)} and {len(self.mlp_ratios)} (model.network)"
            )
        for width in self.widths:
            if width % self.head_width or self.head_width % 2:
                raise ConfigError(
                    f"model.network.head_width={self.head_width} must be even and divide every width, got {width}"
                )

    @property
    def token(self) -> tuple[int, int]:
        """Frames and bins that a token of the first stage stands for."""
        side = 1 << len(self.convolutions)
        return self.patch or (side, side)

    @property
    def form(self) -> BlockForm:
        """What all blocks share."""
        return BlockForm(self.head_width, self.window, self.rotary, self.arrangement, self.norm)


@NETWORKS.register("tfswa_unet")
class TFSWAUNet(Network):
    """Map spectrogram maps (b, c_in, n, f) to (b, c_out, n, f), for any n.

    Stem → encoder stages of TFSWA blocks, each followed by `Down` → bottleneck → decoder stages, each preceded by `Up`,
    its first block taking the encoder's tokens as skip → head. W-MSA and SW-MSA alternate from block to block.
    Frames are padded at run time to the network's multiple; bins must be a multiple already.

    Raises:
        ConfigError: when the widths and head width do not fit, or f cannot be halved as often as there are stages.
    """

    config_type: ClassVar[type] = TFSWAUNetConfig

    def __init__(self, maps_in: int, maps_out: int, bins: int, config: TFSWAUNetConfig) -> None:
        super().__init__()
        stages = len(config.widths) - 1
        if bins % (config.token[1] << stages):
            raise ConfigError(
                f"{bins} bins cannot be cut into tokens of {config.token[1]} and halved {stages} times: "
                "change model.subbands, model.network.patch or convolutions, or the number of stages"
            )
        self.frame_multiple = config.token[0] << stages

        widths = config.widths
        self.stem, self.head = _ends(maps_in, maps_out, config)
        self.frequency_embedding = (
            nn.Parameter(torch.zeros(bins // config.token[1], widths[0])) if config.frequency_embedding else None
        )
        self.encoder = nn.ModuleList(make_stage(config, i, skip=False) for i in range(stages))
        self.downs = nn.ModuleList(Down(widths[i], widths[i + 1]) for i in range(stages))
        self.bottleneck = make_stage(config, stages, skip=False)
        self.ups = nn.ModuleList(Up(widths[i + 1], widths[i]) for i in reversed(range(stages)))
        self.decoder = nn.ModuleList(make_stage(config, i, skip=True) for i in reversed(range(stages)))
        initialise(self)

    def forward(self, maps: Tensor) -> Tensor:
        n = maps.shape[2]
        points, tokens = self.stem(F.pad(maps, (0, 0, 0, -n % self.frame_multiple)))
        return self.from_tokens(points, tokens)[:, :, :n]

    def from_tokens(self, points: Any, tokens: Tensor) -> Tensor:
        """The U after the stem: what it kept for the head, and tokens (b, n / i, f / j, d) → maps (b, c_out, n, f)."""
        if self.frequency_embedding is not None:
            tokens = tokens + self.frequency_embedding

        skips = []
        for stage, down in zip(self.encoder, self.downs, strict=True):
            tokens = stage(tokens)
            skips.append(tokens)
            tokens = down(tokens)
        tokens = self.bottleneck(tokens)
        for up, stage in zip(self.ups, self.decoder, strict=True):
            tokens = stage(up(tokens), skips.pop())
        return self.head(tokens, points)

    def last_layers(self) -> list[nn.Module]:
        return [self.head.project]  # type: ignore[list-item]


def initialise(network: Any) -> None:
    """Small normal weights; what joins the residual stream starts at zero, so that every block begins as identity.

    Attention thereby adds to what the convolutions learn first, and never stands in their way.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
    for block in network.modules():
        if isinstance(block, TFSWABlock | CausalBlock):
            for last in (*block.attention.last_layers(), block.mlp.contract):
                nn.init.zeros_(last.weight)
    if network.frequency_embedding is not None:
        # Beside a constant tokens keep their level through the blocks' norms, which would make loud and soft
        # frames look alike.
        nn.init.normal_(network.frequency_embedding, std=0.3)


def make_stage(config: TFSWAUNetConfig, index: int, skip: bool) -> Stage:
    """The encoder's (or with `skip` the decoder's) blocks at the index-th resolution."""
    return Stage(config.depths[index], config.widths[index], config.form, config.mlp_ratios[index], skip)


def _ends(maps_in: int, maps_out: int, config: TFSWAUNetConfig) -> tuple[nn.Module, nn.Module]:
    """The stem and the head."""
    width, widths = config.widths[0], config.convolutions
    if config.patch is None or config.detail is None:
        return ConvStem(maps_in, widths, width), ConvHead(width, widths, maps_out)
    stem = PatchStem(maps_in, config.detail, width, config.patch)
    return stem, PatchHead(width, config.detail, maps_out, config.patch)
