"""Songs assembled from folders of isolated samples and loops."""

from tfswa_unet.data.loops.plan import parse_bpm
from tfswa_unet.data.loops.write import write_songs

__all__ = ["write_songs", "parse_bpm"]
