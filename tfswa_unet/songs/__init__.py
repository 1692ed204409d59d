"""Songs with stems that are made here: procedural, arranged from loops, or rendered from recordings."""

from tfswa_unet.songs.loops import parse_bpm, write_songs
from tfswa_unet.songs.rendered import write_rendered
from tfswa_unet.songs.synthetic import synthesize, write_dataset

__all__ = ["synthesize", "write_dataset", "write_songs", "parse_bpm", "write_rendered"]
