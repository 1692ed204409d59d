"""Settings of the examples that the tests draw."""

from __future__ import annotations

from tfswa_unet.data import Mixing
from tfswa_unet.data.mixing import Mode


def mixing(
    mode: Mode = "song",
    p: float = 1.0,
    *,
    mix_audio: float = 0.0,
    redraw: float = 0.0,
    silence_db: float = -60.0,
    tempo_tolerance: float = 0.06,
    key_distance: int = 1,
) -> Mixing:
    """Whole songs as they are, or what is asked for."""
    return Mixing(mode, p, mix_audio, redraw, silence_db, tempo_tolerance, key_distance)
