"""How near an exported model's stems are to torch's, on noise and on music, at odd lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.errors import ModelError
from tfswa_unet.songs import synthesize
from tfswa_unet.songs.synthetic import RATES

LEAST = 60.0  # dB: what exported stems must keep to torch's
LARGEST = 150.0  # dB: more says no more than that the outputs are equal
SEED = 1_000  # of songs, far from those that data sets begin with


@dataclass(frozen=True)
class Parity:
    """Signal-to-noise ratio in dB of an exported model's stems against torch's, for one input."""

    signal: str  # noise or music
    batch: int
    length: int  # samples
    db: float

    def __str__(self) -> str:
        at_least = "≥ " if self.db >= LARGEST else ""
        return f"{self.signal}, {self.batch} × {self.length:,} samples: {at_least}{self.db:.1f} dB"


def check_parity(
    model: Any, exported: Callable[[Tensor], Tensor], least: float = LEAST, length: int | None = None
) -> list[Parity]:
    """Compare an exported model with the one that it was made from.

    Args:
        model: in eval mode, on the CPU.
        exported: mixtures (b, c, t) to stems (b, s, c, t).
        least: dB that every comparison must reach.
        length: samples, for a graph that takes one mixture of so many at a time and nothing else.

    Raises:
        ModelError: where one does not, or silence does not stay silent.
    """
    found = []
    with torch.inference_mode():
        for signal, mixture in signals(model.model_config.n_fft, model.rate, model.channels, length):
            db = snr(model(mixture), exported(mixture))
            found.append(Parity(signal, mixture.shape[0], mixture.shape[2], db))
        silent = exported(torch.zeros(1, model.channels, length or model.rate))
    worst = min(found, key=lambda each: each.db)
    if not worst.db >= least:  # nor NaN
        raise ModelError(
            f"the exported graph does not give torch's stems: {worst}, expected {least:g} or more; nothing was written"
        )
    if silent.any():
        raise ModelError("the exported graph does not give silence for silence; nothing was written")
    return found


def signals(n_fft: int, rate: int, channels: int, length: int | None = None) -> Iterator[tuple[str, Tensor]]:
    """Noise and music (b, c, t): shorter than a window, of odd lengths, one and several at a time; or of one length."""
    generator = torch.Generator().manual_seed(SEED)
    of_noise = ((1, n_fft // 2 - 1), (3, n_fft * 6 + 57)) if length is None else ((1, length),)
    of_music = ((1, 6 * rate + 1), (2, 2 * rate + 11)) if length is None else ((1, length),)
    for batch, samples in of_noise:
        yield "noise", 0.1 * torch.randn(batch, channels, samples, generator=generator)
    song = music(SEED, 6.5, rate, channels)[1]
    for batch, samples in of_music:
        yield "music", song[:, :samples].expand(batch, -1, -1).contiguous()


def music(seed: int, seconds: float, rate: int, channels: int) -> tuple[dict[str, Tensor], Tensor]:
    """Stems (c, t) of a synthetic song, and their sum."""
    made = synthesize(seed, seconds, min(max(rate, RATES[0]), RATES[1]))
    stems = {name: torch.from_numpy(_with_channels(stem, channels)) for name, stem in made.items()}
    return stems, torch.stack(list(stems.values())).sum(0)


def snr(reference: Tensor, output: Tensor) -> float:
    """10·log10(Σ r² / Σ (r − o)²) in dB, at most 150; NaN where the output has any."""
    wide = reference.double()
    error = (wide - output.double()).square().sum()
    return min(LARGEST, float(10 * (wide.square().sum() / error.clamp_min(1e-300)).log10()))


def _with_channels(stem: np.ndarray, channels: int) -> np.ndarray:
    return np.stack([stem[channel % len(stem)] for channel in range(channels)]).astype(np.float32)
