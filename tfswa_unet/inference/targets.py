"""The mixture, held back until the stems that lag behind it are there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.separator import check_names


class Delay:
    """A queue of samples: blocks (c, t) go in as they pass by, blocks of other lengths come out."""

    def __init__(self) -> None:
        self._blocks: deque[np.ndarray] = deque()

    def remember(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand the blocks (c, t) on, keeping what has not been popped."""
        for block in blocks:
            self._blocks.append(block)
            yield block

    def pop(self, length: int) -> np.ndarray:
        """Take the oldest `length` samples, (c, t); there must be as many."""
        parts = []
        while length > 0:
            block = self._blocks.popleft()
            parts.append(block[:, :length])
            if block.shape[1] > length:
                self._blocks.appendleft(block[:, length:])
            length -= parts[-1].shape[1]
        return np.concatenate(parts, axis=1)


Residual = Literal["stem", "spread"]
RESIDUALS = ("stem", "spread")


@dataclass(frozen=True)
class Targets:
    """The stems asked of the model and the stems that are written.

    `two_stems` writes one stem and `no_<stem>`, the mixture without it. `residual` makes the written stems sum to the
    mixture: "stem" adds what is missing to `other` where it is among them and else writes it as a stem `residual`;
    "spread" gives every stem an equal share of it.
    """

    stems: tuple[str, ...]
    two_stems: str | None = None
    residual: Residual | None = None

    @classmethod
    def choose(
        cls, known: Sequence[str], stems: Sequence[str] | None, two_stems: str | None, residual: str | None
    ) -> Targets:
        """Check a user's wishes against the stems that the model gives.

        Raises:
            ConfigError: for unknown names, or for `stems` together with `two_stems`.
        """
        if residual not in (None, *RESIDUALS):
            raise ConfigError(f"unknown residual {residual!r}: expected one of {', '.join(RESIDUALS)}, or none")
        if two_stems is None:
            return cls(check_names(stems, known), None, residual)  # type: ignore[arg-type]
        if stems is not None:
            raise ConfigError(f"stems and two_stems={two_stems} exclude each other: give one of them")
        return cls(check_names([two_stems], known), two_stems)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stems that `mix` gives, in its order."""
        if self.two_stems is not None:
            return (self.two_stems, f"no_{self.two_stems}")
        extra = self.residual == "stem" and self._rest not in self.stems
        return (*self.stems, self._rest) if extra else self.stems

    @property
    def _rest(self) -> str:
        return "other" if "other" in self.stems else "residual"

    def sums(self, known: Sequence[str]) -> bool:
        """Whether the written stems are meant to sum to the mixture, given the stems that the model gives."""
        return self.two_stems is not None or self.residual is not None or set(self.stems) == set(known)

    def mix(self, mixture: np.ndarray, stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Written stems, each (c, t), from the mixture (c, t) and the model's stems."""
        result = dict(stems)
        if self.two_stems is not None:
            result[f"no_{self.two_stems}"] = mixture - stems[self.two_stems]
        elif self.residual is not None:
            missing = mixture - sum(stems.values())
            if self.residual == "stem":
                result[self._rest] = result.get(self._rest, 0) + missing
            else:
                result = {name: stem + missing / len(stems) for name, stem in stems.items()}
        return result


@dataclass
class NullError:
    """How far the written stems are from summing to the mixture, over a whole stream."""

    mixture: float = field(default=0.0, init=False)
    difference: float = field(default=0.0, init=False)

    def add(self, mixture: np.ndarray, stems: Mapping[str, np.ndarray]) -> None:
        """Take account of a block of mixture (c, t) and of its stems."""
        self.mixture += float(np.square(mixture, dtype=np.float64).sum())
        self.difference += float(np.square(mixture - sum(stems.values()), dtype=np.float64).sum())

    @property
    def decibels(self) -> float:
        """Level of mixture − Σ stems below the mixture, dB; −200 where it is that low or less."""
        return 10 * math.log10(self.difference / max(self.mixture, 1e-30) + 1e-20)
