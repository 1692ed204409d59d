"""Songs to stems: arrays, streams and files of any length, in memory that does not grow with it."""

from tfswa_unet.inference.files import FileResult, find_songs, separate_file, separate_files
from tfswa_unet.inference.overlap_add import Plan, Segment, cut, join
from tfswa_unet.inference.separator import Cancelled, Separator

__all__ = [
    "Cancelled",
    "FileResult",
    "Plan",
    "Segment",
    "Separator",
    "cut",
    "find_songs",
    "join",
    "separate_file",
    "separate_files",
]
