"""Audio files and pipes in and out: probe, read (a crop, or a stream of blocks), write, resample."""

from tfswa_unet.audio.decode import read_cover
from tfswa_unet.audio.headers import SUFFIXES, Cover
from tfswa_unet.audio.pipe import PIPED, STDIN, PipeReader, PipeWriter, RawFormat, RawWriter
from tfswa_unet.audio.read import AudioInfo, blocks, probe, read
from tfswa_unet.audio.resample import StreamResampler, resample
from tfswa_unet.audio.write import FORMATS, Format, Writer, check_format, write

__all__ = [
    "SUFFIXES",
    "AudioInfo",
    "probe",
    "read",
    "blocks",
    "Cover",
    "read_cover",
    "PIPED",
    "STDIN",
    "RawFormat",
    "PipeReader",
    "PipeWriter",
    "RawWriter",
    "FORMATS",
    "Format",
    "check_format",
    "Writer",
    "write",
    "StreamResampler",
    "resample",
]
