"""Audio files in and out: probe, read (a crop, or a stream of blocks), write, resample."""

from tfswa_unet.audio.faults import check_finite
from tfswa_unet.audio.formats import FORMATS, Format, check_format
from tfswa_unet.audio.probe import AudioInfo, probe
from tfswa_unet.audio.read import blocks, read
from tfswa_unet.audio.resample import StreamResampler, resample
from tfswa_unet.audio.write import Writer, write

__all__ = [
    "AudioInfo",
    "probe",
    "read",
    "blocks",
    "check_finite",
    "FORMATS",
    "Format",
    "check_format",
    "Writer",
    "write",
    "StreamResampler",
    "resample",
]
