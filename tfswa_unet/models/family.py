"""The networks of the family, and how a configuration becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from tfswa_unet.errors import unknown
from tfswa_unet.models.config import ModelConfig
from tfswa_unet.models.spectral import SpectralModel
from tfswa_unet.models.tfswa_multiscale import TFSWAMultiscale, TFSWAMultiscaleConfig
from tfswa_unet.models.tfswa_resunet import TFSWAResUNet, TFSWAResUNetConfig
from tfswa_unet.models.tfswa_unet import TFSWAUNet, TFSWAUNetConfig
from tfswa_unet.records import from_values

# name → network(maps in, maps out, bins, configuration), its configuration
ARCHITECTURES: dict[str, tuple[type[nn.Module], type]] = {
    "tfswa_unet": (TFSWAUNet, TFSWAUNetConfig),
    "tfswa_resunet": (TFSWAResUNet, TFSWAResUNetConfig),
    "tfswa_multiscale": (TFSWAMultiscale, TFSWAMultiscaleConfig),
}


def build(values: Mapping[str, Any]) -> SpectralModel:
    """Make a model with fresh weights from plain values, as `SpectralModel.config` gives them.

    Raises:
        ConfigError: for unknown, missing or impossible values.
    """
    config = from_values(ModelConfig, values, "model")
    if config.architecture not in ARCHITECTURES:
        raise unknown("model.architecture", config.architecture, ARCHITECTURES)
    network, network_config = ARCHITECTURES[config.architecture]
    sizes: Any = from_values(network_config, config.network, "model.network")
    return SpectralModel(config, network(config.maps_in, config.maps_out, config.bins, sizes))
