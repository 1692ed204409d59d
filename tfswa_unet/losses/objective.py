"""The training objective: stems → mixture → model → weighted sum of named terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.config import converted
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses.terms import TERMS, Signals

N_FFT, HOP = 2048, 512  # samples; of spectrograms that losses see of networks which make none of their own


class WeightedLoss:
    """Sum of terms from `TERMS`, each by its weight, in float32.

    Args:
        terms: name → {"weight": number, …options of the term}; a weight of 0 leaves the term out.

    Raises:
        ConfigError: for an unknown term or option, or when nothing is left to minimise.
    """

    def __init__(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        self.weights: dict[str, float] = {}
        self.terms: dict[str, Callable[[Signals, Signals], Tensor]] = {}
        for name, given in terms.items():
            options = {key: value for key, value in given.items() if key != "weight"}
            term = TERMS.bind(name, options)
            if "weight" not in given:
                raise ConfigError(f"loss.{name}.weight is missing: give it a value")
            weight = converted(given["weight"], float, f"loss.{name}.weight")
            if weight:
                self.weights[name], self.terms[name] = weight, term
        if not self.terms:
            raise ConfigError("the loss has no term with a weight: set loss.waveform_l1.weight=1, for instance")

    def __call__(self, estimate: Signals, target: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each unweighted term under its name."""
        with torch.autocast(target.waveform.device.type, enabled=False):
            parts = {name: term(estimate, target) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return total, {name: part.detach() for name, part in parts.items()}


def estimate_stems(model: Any, mixture: Tensor) -> Tensor:
    """What a loss wants of a model: its spectrograms (b, s, c, n, f), or its waveforms (b, s, c, t) where it has none.

    A model that has `spectra` is spared the inverse transform, which not every loss needs.
    """
    return model.spectra(mixture) if hasattr(model, "spectra") else model(mixture)


def compare_stems(
    model: Any, loss: WeightedLoss, estimate: Tensor, stems: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of what `estimate_stems` gave, and its parts; see `objective`."""
    targets = stems[:, : estimate.shape[1]]
    length = targets.shape[-1]
    config = getattr(model, "model_config", None)
    n_fft, hop = (config.n_fft, config.hop) if config else (N_FFT, HOP)
    given = {"spectrum": estimate} if estimate.is_complex() else {"waveform": estimate.float()}
    return loss(Signals(n_fft, hop, length, step=step, **given), Signals(n_fft, hop, length, waveform=targets))


def objective(model: Any, loss: WeightedLoss, stems: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The training objective: mixture → model → loss.

    Args:
        model: maps mixtures (b, c, t) to stems (b, s, c, t); with `spectra`, losses are read off those.
        loss: of estimated and true stems.
        stems: (b, s', c, t), of which the first s are targets and all of which sum to the mixture.
        step: of training, for terms whose parts take turns.

    Returns:
        the loss, and each of its unweighted terms under its name.
    """
    return compare_stems(model, loss, estimate_stems(model, stems.sum(dim=1)), stems, step)
