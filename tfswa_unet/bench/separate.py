"""What a whole song costs from file to files: read, separate, write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfswa_unet import audio
from tfswa_unet.bench.measures import PeakMemory, median_seconds
from tfswa_unet.bench.settings import SeparateSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, Record, mixtures, prepare
from tfswa_unet.inference import Separator, separate_file


@dataclass(frozen=True)
class SeparateRecord(Record):
    """A song of `audio_seconds` in stereo at 44.1 kHz."""

    audio_seconds: float
    segment_seconds: float
    overlap_seconds: float
    batch: int  # segments at a time
    runs: int
    median_seconds: float
    real_time_factor: float
    start_memory_mb: float | None  # with the model loaded
    peak_memory_mb: float | None


def measure(setting: SeparateSetting) -> SeparateRecord:
    """Separate a synthetic song several times, as `tfswa separate` does.

    Raises:
        ConfigError: for impossible values.
        ModelError: for a model that cannot be loaded.
    """
    subject = prepare(setting)
    given: dict[str, Any] = {"segment_seconds": setting.segment, "overlap_seconds": setting.overlap}
    seconds = {name: value for name, value in given.items() if value is not None}
    separator = Separator(subject.model, subject.device, batch=setting.batch, precision=subject.precision, **seconds)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        audio.write(song, mixtures(1, CHANNELS, setting.seconds, RATE)[0].numpy(), RATE)
        peak = PeakMemory(subject.device)
        median = median_seconds(
            lambda: separate_file(separator, song, Path(folder) / "stems"), setting.runs, subject.device
        )
    return SeparateRecord(
        **subject.facts(),
        audio_seconds=setting.seconds,
        segment_seconds=separator.segment_seconds,
        overlap_seconds=separator.overlap_seconds,
        batch=separator.batch,
        runs=setting.runs,
        median_seconds=median,
        real_time_factor=median / setting.seconds,
        start_memory_mb=peak.start_mb,
        peak_memory_mb=peak.megabytes(),
    )
