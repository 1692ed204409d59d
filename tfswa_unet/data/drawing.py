"""Numbers drawn by their chances."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

LEAST = 1e-9  # share of all chances below which what is left counts as nothing


def pick(rng: np.random.Generator, sums: np.ndarray, used: Collection[int] = ()) -> int:
    """Return a number k with a chance of `sums[k] - sums[k - 1]` in `sums[-1]`; none of `used` where others are left.

    One draw and one search, however many there are: the stretches of those used are taken out of the line and jumped
    over.
    """
    gaps = [(float(sums[k - 1]) if k else 0.0, float(sums[k])) for k in sorted(used)]
    total = float(sums[-1])
    left = total - sum(end - start for start, end in gaps)
    if left <= LEAST * total:
        gaps, left = [], total
    at = rng.random() * left
    for start, end in gaps:
        if at >= start:
            at += end - start
    # Rounding may lead past the end, behind which lie only numbers without a chance.
    last = int(np.searchsorted(sums, total))
    return min(int(np.searchsorted(sums, at, side="right")), last)
