"""The family: a spectral wrapper around each network, built from plain configuration."""

from tfswa_unet.models.config import ModelConfig, names, preset
from tfswa_unet.models.earlier import as_today, is_earlier
from tfswa_unet.models.realtime import ModelStream, RealtimeModel
from tfswa_unet.models.spectral import SpectralModel, build
from tfswa_unet.models.tfswa_multiscale import TFSWAMultiscale, TFSWAMultiscaleConfig
from tfswa_unet.models.tfswa_realtime import TFSWARealtime, TFSWARealtimeConfig
from tfswa_unet.models.tfswa_resunet import TFSWAResUNet, TFSWAResUNetConfig
from tfswa_unet.models.tfswa_unet import TFSWAUNet, TFSWAUNetConfig

__all__ = [
    "ModelConfig",
    "SpectralModel",
    "RealtimeModel",
    "ModelStream",
    "build",
    "as_today",
    "is_earlier",
    "names",
    "preset",
    "TFSWAUNet",
    "TFSWAUNetConfig",
    "TFSWAResUNet",
    "TFSWAResUNetConfig",
    "TFSWAMultiscale",
    "TFSWAMultiscaleConfig",
    "TFSWARealtime",
    "TFSWARealtimeConfig",
]
