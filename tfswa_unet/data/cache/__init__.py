"""Stems decoded once to files of which training reads only the crops."""

from tfswa_unet.data.cache.build import DEFAULT_FOLDER, Cached, PcmCache, progress_bars

__all__ = ["PcmCache", "Cached", "DEFAULT_FOLDER", "progress_bars"]
