"""Validation by whole tracks: separated as a user's songs are, and scored stem by stem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.evaluation.metrics import sdr, si_sdr
from tfswa_unet.evaluation.tracks import Audio
from tfswa_unet.inference.precision import Precision
from tfswa_unet.inference.presets import OVERLAP_SECONDS, SEGMENT_SECONDS
from tfswa_unet.inference.separator import Separator
from tfswa_unet.inference.stream import NotFiniteError

METRICS = {"sdr": sdr, "si_sdr": si_sdr}
AUDIBLE = 1e-8  # −80 dB full scale, mean square: the SDR of silence says nothing


class Validation:
    """Mean SDR and SI-SDR of each stem over tracks, by one model or several that are compared.

    `sums` is (model, metric, 2, s): the scores of the tracks in which a stem sounds, summed, and how many they are.

    Args:
        models: what their scores are logged under → the model, on the device.
        device: where they are.
        precision: in which they separate.
        longest: samples of the longest track; segments are no longer than that.
    """

    def __init__(self, models: Mapping[str, Any], device: torch.device, precision: Precision, longest: int) -> None:
        rate = next(iter(models.values())).rate
        segment = min(SEGMENT_SECONDS, longest / rate)
        lengths = {"segment_seconds": segment, "overlap_seconds": min(OVERLAP_SECONDS, segment / 2)}
        self.separators = {
            name: Separator(model, device, precision=precision, **lengths) for name, model in models.items()
        }
        self.first = next(iter(self.separators.values()))
        self.stems, self.segment = self.first.stems, self.first.segmentation.size
        self.sums = torch.zeros(len(models), len(METRICS), 2, len(self.stems))

    def add(self, stems: Tensor) -> None:
        """Separate the mixture of a track (s', c, t), of which the first s are targets, and score its stems.

        A model whose output is not finite scores NaN.
        """
        targets = stems[: len(self.stems)]
        audible = targets.square().mean(dim=(-2, -1)) > AUDIBLE
        for separator, sums in zip(self.separators.values(), self.sums, strict=True):
            scores = _scores(separator, stems.sum(dim=0), targets)
            sums += torch.stack([torch.where(audible, scores, 0), audible.expand_as(scores)], dim=1)

    def separate(self, mixture: Tensor) -> dict[str, Audio]:
        """Separate a mixture (c, t) by the first of the models, stems (c, t) by name."""
        return self.first.separate(mixture, self.first.model.rate)

    def means(self, sums: Tensor) -> dict[str, Tensor]:
        """Metrics by their names, dB: `val/sdr`, the mean over stems, `val/sdr_vocals`, …; NaN where none sounds.

        Args:
            sums: those of all processes.
        """
        means: dict[str, Tensor] = {}
        for name, of_model in zip(self.separators, sums, strict=True):
            for metric, (scores, counts) in zip(METRICS, of_model, strict=True):
                each = scores / counts
                means[f"{name}/{metric}"] = each.nanmean()
                means |= {f"{name}/{metric}_{stem}": mean for stem, mean in zip(self.stems, each, strict=True)}
        return means


def _scores(separator: Separator, mixture: Tensor, targets: Tensor) -> Tensor:
    """Scores (metric, s) of one track."""
    try:
        stems = separator.separate(mixture, separator.model.rate)
    except NotFiniteError:
        return torch.full((len(METRICS), len(targets)), torch.nan)
    # Stem by stem, as differences of long tracks take memory.
    pairs = [(target, torch.from_numpy(stem)) for target, stem in zip(targets, stems.values(), strict=True)]
    return torch.stack([torch.stack([score(*pair) for pair in pairs]) for score in METRICS.values()])
