"""What a whole song costs from file to files: read, separate, write."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import torch

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
    network = _network_seconds(separator, setting)
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
        "network_seconds": network,
        "whole_over_network": median / network,
        **peak.facts(),
    }


def _network_seconds(separator: Separator, setting: SeparateSetting) -> float:
    """Median time of the model alone: as many segments as the song has, in the same batches, on the device."""
    segmentation, rate = separator.segmentation, separator.model.rate
    count = max(1, math.ceil((setting.seconds * rate - segmentation.overlap) / segmentation.hop))
    shape = (min(separator.batch, count), separator.model.channels, segmentation.size)
    batch = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(separator.device)
    sizes = [min(len(batch), count - done) for done in range(0, count, len(batch))]
    enabled = separator.precision == "bf16"

    def work() -> None:
        with torch.inference_mode(), torch.autocast(separator.device.type, torch.bfloat16, enabled=enabled):
            for size in sizes:
                separator.model(batch[:size])

    return median_seconds(work, setting.runs, separator.device)
