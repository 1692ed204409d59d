"""Songs with stems that are made here: procedural ones, and ones arranged from loops."""

from tfswa_unet.songs.loops import parse_bpm, write_songs
from tfswa_unet.songs.synthetic import synthesize, write_dataset

__all__ = ["synthesize", "write_dataset", "write_songs", "parse_bpm"]
