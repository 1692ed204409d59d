"""Stems decoded once to files of which training reads only the crops."""

from tfswa_unet.data.cache.build import DEFAULT_FOLDER, Cached, PcmCache, Report, progress_bars

__all__ = ["PcmCache", "Cached", "DEFAULT_FOLDER", "Report", "progress_bars"]
