"""The data sets that can be read: each file here registers one, or a few of one family, by a lister of its songs."""

from tfswa_unet.config import discover

discover(__name__)
