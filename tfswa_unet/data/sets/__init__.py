"""Data sets that can be read: each file registers the listers of one kind, or of a family."""

from tfswa_unet.config import discover

discover(__name__)
