"""Names of score files."""

from __future__ import annotations


def file_name(track: str) -> str:
    """A track's name without what cannot stand in a file name."""
    return track.replace("/", "_").replace("\\", "_")
