"""Tracks as scoring needs them, and the reference methods that estimates are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tfswa_unet.config import Registry
from tfswa_unet.data.reading import read_source
from tfswa_unet.dsp import istft, stft
from tfswa_unet.errors import ConfigError, DataError, ModelError
from tfswa_unet.types import MIXTURE, Track

Audio = NDArray[np.float32]  # (c, t)
Stems = Mapping[str, Audio]  # by name

# Everything in the mixture that no stem of the plan holds: it takes part as interference and is not reported.
REST = "(rest)"

# Methods that know the true stems: the mixture and these → an estimate of each.
REFERENCES: Registry[Callable[[Audio, Stems], dict[str, Audio]]] = Registry("references")
N_FFT, HOP = 2048, 512  # samples; of the ideal ratio mask
ALPHA = 1.0  # of magnitudes, in the ratio
# Whole songs in blocks, so that memory does not grow with the song; a multiple of the hop keeps the frames' grid.
BLOCK = 1024 * HOP


@dataclass(frozen=True)
class ScoredTrack:
    """A track and which of its sources make each stem; files are read at first use.

    Raises:
        ConfigError: a source belongs to two stems, so that the stems do not add up to the mixture.
        DataError: on reading, where the sources differ in channels; mono among others is copied to all of them.
    """

    track: Track
    plan: Mapping[str, tuple[str, ...]]
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        used = [source for sources in self.plan.values() for source in sources]
        if twice := sorted({source for source in used if used.count(source) > 1}):
            raise ConfigError(
                f"source {twice[0]!r} of track {self.name!r} belongs to more than one stem: "
                "stems that are scored together must not overlap"
            )

    @property
    def name(self) -> str:
        return self.track.name

    @property
    def rate(self) -> int:
        return self.track.rate

    @property
    def length(self) -> int:
        """Samples that are scored."""
        limit = self.track.length if self.max_seconds is None else round(self.max_seconds * self.rate)
        return min(self.track.length, limit)

    @cached_property
    def sources(self) -> dict[str, Audio]:
        """Every source of the track, (c, t)."""
        read = {name: read_source(source, 0, self.length) for name, source in self.track.sources.items()}
        channels = {name: len(values) for name, values in read.items()}
        most = max(channels.values())
        if set(channels.values()) - {1, most}:
            raise DataError(
                f"the sources of track {self.name!r} differ in their number of channels: {channels}; make them equal"
            )
        return {name: np.broadcast_to(values, (most, values.shape[1])) for name, values in read.items()}

    @cached_property
    def mixture(self) -> Audio:
        """The sum of all sources, (c, t)."""
        return np.sum(list(self.sources.values()), axis=0, dtype=np.float32)

    @cached_property
    def targets(self) -> dict[str, Audio]:
        """The true stems, (c, t), and under `REST` what the plan leaves over, if it does."""
        used = {source for sources in self.plan.values() for source in sources}
        left_over = tuple(source for source in self.sources if source not in used)
        parts = dict(self.plan) | ({REST: left_over} if left_over else {})
        return {stem: self._sum(sources) for stem, sources in parts.items()}

    def unread(self) -> ScoredTrack:
        """The same track without its audio: light to hand to another process."""
        return replace(self)

    def complete(self, estimates: Stems) -> dict[str, Audio]:
        """Check a model's stems and give them the shape of `targets`: `REST` becomes what the stems leave over.

        Raises:
            ModelError: a stem is missing, has another shape than the mixture, or is not finite.
        """
        for stem in self.plan:
            if stem not in estimates:
                raise ModelError(
                    f"the model gives no {stem!r}, only {', '.join(estimates)}: set stems to what it gives"
                )
            if estimates[stem].shape != self.mixture.shape:
                raise ModelError(
                    f"stem {stem!r} of track {self.name!r} has shape {estimates[stem].shape}, "
                    f"expected the mixture's {self.mixture.shape}"
                )
            if not np.isfinite(estimates[stem]).all():
                raise ModelError(
                    f"stem {stem!r} of track {self.name!r} holds NaN or infinite samples: "
                    "separate with precision=fp32, or take another checkpoint"
                )
        stems = {stem: np.asarray(estimates[stem], dtype=np.float32) for stem in self.plan}
        if REST in self.targets:
            stems[REST] = self.mixture - np.sum(list(stems.values()), axis=0, dtype=np.float32)
        return stems

    def _sum(self, sources: tuple[str, ...]) -> Audio:
        present = [self.sources[name] for name in sources if name in self.sources]
        return np.sum([np.zeros_like(self.mixture), *present], axis=0, dtype=np.float32)


def file_name(name: str) -> str:
    """A track's or method's name without what cannot stand in a file name."""
    return name.replace("/", "_").replace("\\", "_")


@REFERENCES.register(MIXTURE)
def mixture_as_estimate(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """The mixture (c, t) as the estimate of every stem: what doing nothing scores."""
    return dict.fromkeys(targets, mixture)


@REFERENCES.register("irm")
def ideal_ratio_mask(mixture: Audio, targets: Stems) -> dict[str, Audio]:
    """Ideal ratio mask, of the true magnitudes: what a mask with the mixture's phase can reach.

    Each stem is the mixture's STFT times |S|^α / Σ |S|^α, every channel by itself; Hann window of 2048, hop 512.
    α = 1 is the ratio of magnitudes, IRM1 of SiSEC 2018; the oracle script of that campaign takes α = 2, the ratio of
    powers, with hop 1024 unless told otherwise.

    Args:
        mixture: (c, t).
        targets: the true stems, each (c, t), which together make the mixture.

    Returns:
        stems (c, t) under the names of `targets`.

    Source: doi:10.1007/978-3-319-93764-9_28.
    """
    length = mixture.shape[-1]
    stacked = np.stack(list(targets.values()))
    estimate = np.empty_like(stacked)
    for read, kept, within in blocks(length):
        masked = _mask(torch.from_numpy(mixture[:, read]), torch.from_numpy(stacked[..., read]))
        estimate[..., kept] = masked.numpy()[..., within]
    return dict(zip(targets, estimate, strict=True))


def blocks(length: int) -> Iterator[tuple[slice, slice, slice]]:
    """Blocks of a signal whose STFT is changed: samples to read, those of them to keep, and these within the former."""
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        # Frames that reach into the block need samples up to one window length beyond it.
        low, high = max(0, start - N_FFT), min(length, stop + N_FFT)
        yield slice(low, high), slice(start, stop), slice(start - low, stop - low)


def _mask(mixture: Tensor, targets: Tensor) -> Tensor:
    weights = stft(targets, N_FFT, HOP).abs() ** ALPHA
    mask = weights / (weights.sum(0) + torch.finfo(weights.dtype).tiny)
    return istft(mask * stft(mixture, N_FFT, HOP), N_FFT, HOP, mixture.shape[-1])
