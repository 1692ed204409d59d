"""Stem plan: the source stems of a data set that each output stem of a model sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.types import Track

REST = "rest"
REMAINDER = "_rest"  # the hidden last stem: what the plan leaves out and the mixture still holds


@dataclass(frozen=True)
class StemPlan:
    """Output stems and the source stems that each sums; None stands for the rest, all that no other entry names."""

    entries: tuple[tuple[str, tuple[str, ...] | None], ...]

    @classmethod
    def from_config(cls, config: Mapping[str, str | Sequence[str]]) -> StemPlan:
        """Stem plan of a mapping such as {"vocals": ["vocals"], "accompaniment": "rest"}.

        Raises ConfigError where the mapping is empty, a value is no name or list of names, a source is asked for twice
        or more than one entry is the rest.
        """
        if not isinstance(config, Mapping) or not config:
            raise ConfigError(
                f"stems is {config!r}, expected a mapping such as {{vocals: [vocals], accompaniment: rest}}."
            )
        plan = cls(tuple((str(name), _sources(name, value)) for name, value in config.items()))
        if REMAINDER in plan.names:
            raise ConfigError(f"The stem name {REMAINDER!r} is taken by what a plan leaves out: choose another name.")
        if sum(sources is None for _, sources in plan.entries) > 1:
            raise ConfigError(f"Only one stem can be {REST!r}, got it for {', '.join(plan._rest_names())}.")
        named = plan._named()
        twice = sorted({source for source in named if named.count(source) > 1})
        if twice:
            raise ConfigError(
                f"The source stem {twice[0]!r} is asked for twice in stems: the stems would no longer sum to the "
                "mixture, so name it once."
            )
        return plan

    @property
    def names(self) -> tuple[str, ...]:
        """The output stems in order."""
        return tuple(name for name, _ in self.entries)

    def resolve(self, available: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Source stems of each output stem, given all source stems that the data set has.

        Raises ConfigError for a source stem that the data set lacks and for a rest of nothing.
        """
        available = tuple(dict.fromkeys(available))
        for source in self._named():
            if source not in available:
                raise unknown("source stem", source, available)
        rest = tuple(source for source in available if source not in self._named())
        if not rest and self._rest_names():
            raise ConfigError(
                f"Nothing is left for the stem {self._rest_names()[0]!r} ({REST!r}): the other stems already use "
                f"{', '.join(available)}; remove it or give it sources of its own."
            )
        return {name: rest if sources is None else sources for name, sources in self.entries}

    def remainder(self, available: Iterable[str]) -> tuple[str, ...]:
        """Source stems that no output stem uses; they still belong to the mixture."""
        if self._rest_names():
            return ()
        return tuple(source for source in dict.fromkeys(available) if source not in self._named())

    def _named(self) -> list[str]:
        return [source for _, sources in self.entries for source in sources or ()]

    def _rest_names(self) -> list[str]:
        return [name for name, sources in self.entries if sources is None]


def source_names(tracks: Iterable[Track]) -> tuple[str, ...]:
    """Source stems that any of the tracks has, in the order of first sight."""
    return tuple(dict.fromkeys(stem for track in tracks for stem in track.sources))


def _sources(name: str, value: object) -> tuple[str, ...] | None:
    if value == REST:
        return None
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else ()
    if not names or not all(isinstance(source, str) for source in names):
        raise ConfigError(f"stems.{name} is {value!r}, expected a source stem, a list of them, or {REST!r}.")
    return names
