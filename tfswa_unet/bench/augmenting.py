"""What each augmentation costs where it acts on every example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tfswa_unet.bench.clock import median_seconds
from tfswa_unet.bench.music import mixtures
from tfswa_unet.data.augmentation import AUGMENTATIONS, build_augmentation
from tfswa_unet.models.presets import choice

RUNS = 3
ALL = "strong"  # the file of conf/augmentation that names all of them


@dataclass(frozen=True)
class AugmentationCost:
    """One augmentation with its settings in conf/augmentation/strong, but for p = 1, alone on a batch."""

    augmentation: str
    milliseconds: float  # for one example, all its stems
    in_workers: bool  # runs in the loader's processes, on one thread each; else in training's own


def measure_augmentations(batch: int, stems: int, seconds: float, rate: int) -> list[AugmentationCost]:
    """Median time of each augmentation on the CPU, of a batch of `batch` stereo examples at `rate` Hz."""
    sounds = mixtures(batch * stems, 2, seconds, rate).unflatten(0, (batch, stems)) / stems
    costs = []
    for name, settings in choice("augmentation", ALL).items():
        augment = build_augmentation({name: {**settings, "p": 1.0}}, rate=rate).train()
        in_workers = AUGMENTATIONS[name].in_workers
        with _threads(1 if in_workers else torch.get_num_threads()):
            elapsed = median_seconds(lambda augment=augment: augment(sounds), RUNS, sounds.device)  # type: ignore[misc]
        costs.append(AugmentationCost(name, 1000 * elapsed / batch, in_workers))
    return costs


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
