"""Learning without stems: a teacher separates mixtures, and its stems, remixed, are what a model learns from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.bundle import load_model
from tfswa_unet.errors import ConfigError


class Teacher:
    """Make stems to learn from of mixtures alone, by a trained model: RemixIT's bootstrapped remixing.

    Each stem is given to another mixture of the batch, so that the new mixtures and their stems fit exactly while the
    teacher's mistakes in one song no longer go with the rest of it. The teacher stays as it is; the model of one run
    may teach the next. Source: RemixIT, arXiv 2202.08862.

    Args:
        path: bundle or checkpoint of the teacher, or the name of a model that comes with the package.
        stems: of the model that learns.
        model: configuration of that model, of which `rate` and `channels` count.
        batch_size: mixtures in a batch.

    Raises:
        ConfigError: for a teacher that lacks a stem or has another rate or number of channels, and batches of one.
        ModelError: for a file that holds no model.
    """

    def __init__(self, path: str, stems: Iterable[str], model: Mapping[str, Any], batch_size: int) -> None:
        self.model = load_model(path).requires_grad_(False)
        theirs = self.model.stems
        for stem in stems:
            if stem not in theirs:
                raise ConfigError(
                    f"teacher={path} has no stem {stem!r}: set stems to some of its own, {', '.join(theirs)}"
                )
        rate, channels = model["rate"], model["channels"]
        if (self.model.rate, self.model.channels) != (rate, channels):
            raise ConfigError(
                f"teacher={path} works at {self.model.rate} Hz with {self.model.channels} channels, and the model at "
                f"{rate} Hz with {channels}: choose another teacher, or set model.rate and model.channels to its"
            )
        if batch_size < 2:
            raise ConfigError("teacher= remixes within a batch: data.batch_size is 1, expected 2 or more")
        self._order = [theirs.index(stem) for stem in stems]
        self.covers_mixture = len(self._order) == len(theirs) and self.model.model_config.sums_to_mixture

    def __call__(self, batch: Tensor) -> Tensor:
        """Mixtures (b, 1, c, t) → stems (b, s', c, t) of new mixtures, their sums, in a random order of torch's.

        The first s are the model's; where they are not all of the mixture, the rest follows.
        """
        mixtures = batch[:, 0]
        with torch.no_grad():
            stems = self.model.to(mixtures.device)(mixtures)[:, self._order]
        if not self.covers_mixture:
            stems = torch.cat([stems, (mixtures - stems.sum(dim=1))[:, None]], dim=1)
        return shuffled(stems)


def shuffled(stems: Tensor) -> Tensor:
    """Give each stem of (b, s, c, t) to the examples in an order of its own, drawn from torch's generator."""
    orders = [torch.randperm(len(stems)) for _ in range(stems.shape[1])]
    return torch.stack([stems[order, stem] for stem, order in enumerate(orders)], dim=1)
