"""Tracks as scoring needs them: their sources, true stems and mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tfswa_unet.data.reading import read_source
from tfswa_unet.errors import ConfigError, DataError, ModelError
from tfswa_unet.types import Track

Audio = NDArray[np.float32]  # (c, t)
Stems = Mapping[str, Audio]  # by name

# Everything in the mixture that no stem of the plan holds: it takes part as interference and is not reported.
REST = "(rest)"


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
