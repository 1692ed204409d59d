"""One number for how loud an example is, so that the network sees every song at the same level."""

from __future__ import annotations

from torch import Tensor

FLOOR = 1e-5  # −100 dB full scale: a converter's last bit is not blown up to music


def level(waveform: Tensor) -> Tensor:
    """Root mean square of each example over channels and samples, at least `FLOOR`: (b, c, t) → (b,).

    Dividing by it brings music to unit level; silence stays silence exactly.
    """
    return waveform.float().square().mean(dim=(-2, -1)).sqrt().clamp_min(FLOOR)
