"""Two evaluations of the same tracks: paired differences, and whether they are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.measures import LOWER_IS_BETTER
from tfswa_unet.evaluation.results import AVERAGE, Result

# With fewer tracks even differences of one sign each could be chance: 2 · 0.5^5 > 0.05.
FEWEST = 6
CONFIDENCE = 0.95
RESAMPLES = 9999  # of the bootstrap
SEED = 0
# What two evaluations must agree in.
OF_METRIC = ("name", "window_seconds", "hop_seconds")
OF_RECORD = ("data", "split", "max_seconds", "stems")


@dataclass(frozen=True)
class Difference:
    """How far the second evaluation's scores lie above the first's, over the tracks that have both.

    `low` and `high` are a bootstrap interval of the mean difference, None with fewer than `FEWEST` tracks.
    """

    stem: str  # or `AVERAGE`, of those stems of a track that have a score in both
    tracks: int
    first: float  # mean over these tracks
    second: float
    mean: float  # of the differences
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero: the difference is more than the choice of tracks explains."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def compare(first: Result, second: Result, metric: str) -> list[Difference]:
    """Paired differences of a metric, a stem each, then of the stems' average.

    The interval is the percentile bootstrap's: tracks are drawn with replacement, both scores of a track together.

    Args:
        first: an evaluation.
        second: another of the same data, scored in the same way.
        metric: such as "SDR"; of a track it is the number that scores.json gives under `per_track`.

    Raises:
        ConfigError: they differ in data or in what was measured, share no track, or lack the metric.

    Source: doi:10.1201/9780429246593 (percentile intervals).
    """
    _check_alike(first, second)
    pairs = {stem: _pairs(first, second, stem, metric) for stem in first.record["stems"]}
    if not any(pairs.values()):
        scored = sorted({name for rows in first.tracks.values() for scores in rows.values() for name in scores})
        raise ConfigError(f"no track has {metric} in both evaluations: choose a metric of {', '.join(scored)}")
    by_track = {track: [of_stem[track] for of_stem in pairs.values() if track in of_stem] for track in first.tracks}
    average = {track: np.mean(scores, axis=0) for track, scores in by_track.items() if scores}
    rows = [*pairs.items(), (AVERAGE, average)]
    return [_difference(stem, np.array(list(scores.values()))) for stem, scores in rows if scores]


def verdict(first: str, second: str, differences: Sequence[Difference], metric: str, unit: str = "dB") -> str:
    """One plain sentence: which of two evaluations is ahead, and whether by more than chance.

    Args:
        first: name of the first evaluation.
        second: name of the second.
        differences: what `compare` gave, the average last.
        metric: that was compared.
        unit: of the metric.
    """
    last = differences[-1]
    above, below = (second, first) if last.mean >= 0 else (first, second)
    by = (
        f"{above} is {abs(last.mean):.2f} {unit} {metric} above {below} on average of the stems, "
        f"over {last.tracks} tracks" + (", where lower is better" if metric in LOWER_IS_BETTER else "")
    )
    if last.low is None or last.high is None:
        return f"{by}: too few to tell it from chance, which takes {FEWEST} or more."
    low, high = (last.low, last.high) if last.mean >= 0 else (-last.high, -last.low)
    told = "more than chance" if last.certain else "which may be chance"
    return f"{by}, {told} ({100 * CONFIDENCE:g} % interval {low:.2f} to {high:.2f} {unit})."


def _check_alike(first: Result, second: Result) -> None:
    for names, one, other in (
        (OF_RECORD, first.record, second.record),
        (OF_METRIC, first.record["metric"], second.record["metric"]),
    ):
        for name in names:
            if one.get(name) != other.get(name):
                raise ConfigError(
                    f"the evaluations cannot be compared: {name} is {one.get(name)!r} in {first.name} and "
                    f"{other.get(name)!r} in {second.name}; score both in the same way, on the same data"
                )


def _pairs(first: Result, second: Result, stem: str, metric: str) -> dict[str, tuple[float, float]]:
    """Scores of a stem by track, where both have one: silence has none."""
    found = {}
    for track in first.tracks:
        one, other = (result.tracks.get(track, {}).get(stem, {}).get(metric) for result in (first, second))
        if one is not None and other is not None:
            found[track] = (one, other)
    return found


def _difference(stem: str, scores: np.ndarray) -> Difference:
    """Of scores (track, 2)."""
    from scipy.stats import bootstrap

    first, second = scores.mean(axis=0)
    apart = scores[:, 1] - scores[:, 0]
    low = high = None
    if len(apart) >= FEWEST:
        interval = bootstrap(
            (apart,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            random_state=np.random.default_rng(SEED),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Difference(stem, len(apart), float(first), float(second), float(apart.mean()), low, high)
