"""Procedural songs with their stems: something to train, test and demonstrate on that is anyone's to use."""

from tfswa_unet.data.synthetic.mix import synthesize
from tfswa_unet.data.synthetic.song import STEMS
from tfswa_unet.data.synthetic.write import write_dataset

__all__ = ["STEMS", "synthesize", "write_dataset"]
