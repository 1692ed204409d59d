"""What a whole song costs from file to files: read, separate, write."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tfswa_unet import audio
from tfswa_unet.bench.measures import PeakMemory, median_seconds
from tfswa_unet.bench.settings import SeparateSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, mixtures, prepare
from tfswa_unet.inference import Separator, separate_file


def measure(setting: SeparateSetting) -> dict[str, Any]:
    """Separate a synthetic song, in stereo at 44.1 kHz, as `tfswa separate` does; raises as `subject.prepare` does."""
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
    return {
        **subject.facts(),
        "audio_seconds": setting.seconds,
        "segment_seconds": separator.segment_seconds,
        "overlap_seconds": separator.overlap_seconds,
        "batch": separator.batch,
        "runs": setting.runs,
        "median_seconds": median,
        "real_time_factor": median / setting.seconds,
        **peak.facts(),
    }
