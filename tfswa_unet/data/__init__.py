"""From songs on disk to training examples: tracks, stems, segments, mixing, augmentation."""

from tfswa_unet.data.mixing import Mixing
from tfswa_unet.data.segments import EpochSampler, SegmentDataset, ValidationTracks
from tfswa_unet.data.stems import REMAINDER, StemPlan, source_names
from tfswa_unet.data.tracks import DataSet, data_sets, load_data, load_tracks

__all__ = [
    "DataSet",
    "data_sets",
    "load_data",
    "load_tracks",
    "StemPlan",
    "source_names",
    "REMAINDER",
    "Mixing",
    "SegmentDataset",
    "ValidationTracks",
    "EpochSampler",
]
