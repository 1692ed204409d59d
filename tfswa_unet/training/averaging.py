"""Exponential moving average of the weights, which validates and goes into bundles in their place."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from tfswa_unet.errors import ConfigError

WARM_UP = 10  # steps after which the average looks back over a tenth as many steps as there were


class AveragedWeights(WeightAveraging):
    """Average of the weights and running statistics over about 1 / (1 − `decay`) steps, fewer in the beginning.

    It validates, and checkpoints hold it as `state_dict`; training goes on from the raw weights, which they hold too.
    The warm-up of the decay is that of TensorFlow's ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)).

    Raises ConfigError for a decay that is not between 0 and 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"callbacks.average.decay is {decay:g}, expected between 0 and 1, or null for none")

        def average(averages: Any, weights: Any, count: Tensor | int) -> None:
            share = 1 - min(decay, (1 + int(count)) / (WARM_UP + int(count)))
            if averages[0].is_floating_point():  # they come by their types; whole numbers never change in training
                torch._foreach_lerp_(averages, weights, share)

        super().__init__(use_buffers=True, multi_avg_fn=average)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the raw weights in place, which a resumed run goes on from; checkpoints hold the average as well."""
