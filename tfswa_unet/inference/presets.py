"""How much work a separation may be: lengths of segments, and the presets of `tfswa separate`.

Imports no torch, so that help is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tfswa_unet.errors import unknown

# Where a user asks for nothing else, as in conf/eval.yaml's null.
SEGMENT_SECONDS = 6.0
OVERLAP_SECONDS = 1.0
BATCHES = {"cuda": 8}  # segments in one call of the model, by device; 1 elsewhere


@dataclass(frozen=True)
class Preset:
    """How much work a separation may be: s that neighbouring segments share, passes over shifted time, precision."""

    overlap_seconds: float
    shifts: int
    precision: str


# Each one's SDR and speed: docs/benchmarks.md, "Presets of a separation".
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "fast": Preset(overlap_seconds=0.25, shifts=1, precision="auto"),
        "balanced": Preset(overlap_seconds=OVERLAP_SECONDS, shifts=1, precision="auto"),
        "best": Preset(overlap_seconds=3.0, shifts=1, precision="fp32"),
    }
)
DEFAULT_PRESET = "balanced"


def pick_preset(name: str) -> Preset:
    """Look a preset up; raises ConfigError for an unknown name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
