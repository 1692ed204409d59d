"""TFSWA-ResUNet: the paper's network, a U of residual convolutions with attention at its bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.config import Registry
from tfswa_unet.errors import ConfigError
from tfswa_unet.models.config import NETWORKS, Network
from tfswa_unet.nn import Chain, ConvDecoder, ConvEncoder, SequenceBlock, SerialTFSWA, TokenRCM

# What the bottleneck can be made of, by the names of the paper's ablation: its width, the network's sizes → a module.
BOTTLENECKS: Registry[Callable[[int, TFSWAResUNetConfig], nn.Module]] = Registry("model.network.bottleneck")


@dataclass(frozen=True)
class TFSWAResUNetConfig:
    """Sizes of the network; conf/model/tfswa_resunet.yaml holds the paper's."""

    widths: tuple[int, ...]  # of the encoder blocks, each of which halves the resolution; the last is the bottleneck's
    rcms: int  # of each encoder and decoder block
    bottleneck: str  # what its modules are: a key of `BOTTLENECKS`
    depth: int  # modules of the bottleneck
    heads: int
    mlp_ratio: float
    residual: bool  # around the attention of TSA and FSA too
    window: tuple[int, int]  # tokens along frames, along bins

    def __post_init__(self) -> None:
        BOTTLENECKS[self.bottleneck]  # refuses an unknown one
        for name in ("widths", "window"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ConfigError(f"model.network.{name} must be numbers from 1, got {list(getattr(self, name))}")
        for name in ("rcms", "depth", "heads"):
            if getattr(self, name) < 1:
                hint = "; bottleneck=none leaves the bottleneck out" if name == "depth" else ""
                raise ConfigError(f"model.network.{name}={getattr(self, name)} must be 1 or above{hint}")
        if self.widths[-1] % self.heads:
            raise ConfigError(f"model.network.heads={self.heads} must divide the last width, got {self.widths[-1]}")


@BOTTLENECKS.register("none")
def no_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """Nothing between encoder and decoder."""
    return nn.Identity()


@BOTTLENECKS.register("conv")
def conv_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """RCM."""
    return TokenRCM(width, width)


@BOTTLENECKS.register("tsa")
def tsa_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """TSA alone."""
    return SequenceBlock(width, config.heads, config.mlp_ratio, "frame", config.residual)


@BOTTLENECKS.register("fsa")
def fsa_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """FSA alone."""
    return SequenceBlock(width, config.heads, config.mlp_ratio, "bin", config.residual)


@BOTTLENECKS.register("tsa_fsa")
def tsa_fsa_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """TSA, then FSA."""
    return nn.Sequential(tsa_module(width, config), fsa_module(width, config))


@BOTTLENECKS.register("tfswa")
def tfswa_module(width: int, config: TFSWAResUNetConfig) -> nn.Module:
    """TSA, FSA and a Swin pair: the paper's module."""
    return SerialTFSWA(width, config.heads, config.mlp_ratio, config.window, config.residual)


@NETWORKS.register("tfswa_resunet")
class TFSWAResUNet(Network):
    """Map spectrogram maps (b, c_in, n, f) to (b, c_out, n, f), for any n.

    Encoder blocks, each followed by a 2×2 average → bottleneck → decoder blocks, each preceded by a bilinear ×2 and
    joined by the encoder's maps of its resolution; the last gives the output maps. Frames are padded at run time to the
    network's multiple; bins must be a multiple already. Source: doi 10.1186/s13634-025-01249-0.

    Raises:
        ConfigError: when f cannot be halved as often as there are encoder blocks.
    """

    config_type: ClassVar[type] = TFSWAResUNetConfig

    def __init__(self, maps_in: int, maps_out: int, bins: int, config: TFSWAResUNetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.frame_multiple = 1 << len(widths)
        if bins % self.frame_multiple:
            raise ConfigError(
                f"{bins} bins cannot be halved {len(widths)} times: change model.n_fft, model.subbands or the number "
                "of model.network.widths"
            )
        inputs, outputs = (maps_in, *widths[:-1]), (maps_out, *widths[:-1])
        self.encoder = nn.ModuleList(ConvEncoder(i, o, config.rcms) for i, o in zip(inputs, widths, strict=True))
        modules = config.depth if config.bottleneck != "none" else 0
        self.bottleneck = Chain(*(BOTTLENECKS[config.bottleneck](widths[-1], config) for _ in range(modules)))
        self.decoder = nn.ModuleList(
            ConvDecoder(width, width, output, config.rcms) for width, output in zip(widths, outputs, strict=True)
        )

    def forward(self, maps: Tensor) -> Tensor:
        n = maps.shape[2]
        maps = F.pad(maps, (0, 0, 0, -n % self.frame_multiple))
        # Convolutions are several times faster so on CPUs, and the bottleneck's tokens become a view.
        maps = maps.contiguous(memory_format=torch.channels_last)

        skips = []
        for encode in self.encoder:
            skip, maps = encode(maps)
            skips.append(skip)
        maps = self.bottleneck(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for decode in reversed(self.decoder):
            maps = decode(maps, skips.pop())
        return maps[:, :, :n]

    def last_layers(self) -> list[nn.Module]:
        last: Any = self.decoder[0].block[-1]  # type: ignore[index]
        return [last.conv2, last.shortcut]
