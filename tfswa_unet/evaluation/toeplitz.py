"""Normal equations of filters: symmetric block Toeplitz systems, solved by what their blocks have in common.

Of c channels at delays of 0 … taps − 1 samples, n = taps · c unknowns, those of a delay together. `correlation`,
(c, c, taps), holds the inner products of channels Σ_t x_i(t) x_j(t + lag) at as many lags; filters and right sides are
(c, m, taps), all in float64.
"""

from __future__ import annotations

from math import gcd

import numpy as np
import torch
from scipy.linalg import cho_solve
from torch import Tensor
from torch.fft import irfft, rfft

BLOCK = 16  # rows, of delays taken together: fewer steps, each of larger products
# Of a solution against its right side. With museval's addition to the diagonal, 2e-16 of a channel's energy, an error
# of this size is 83 dB below the estimate in the worst direction.
RESIDUAL = 1e-12
CORRECTIONS = 3  # of a solution by its own residual, at most


def solve(correlation: Tensor, sides: Tensor) -> Tensor:
    """Filters whose products with the system's matrix are `sides`.

    On a CPU by Schur's algorithm, elsewhere by Cholesky; by LU as museval does where rounding defeats that, and by
    least squares where the system is singular.
    """
    if correlation.device.type == "cpu":
        solution = by_schur(correlation, sides)
        if solution is not None:
            return solution
    return _filters(_by_factors(gram(correlation), _flat(sides)), sides)


def by_schur(correlation: Tensor, sides: Tensor) -> Tensor | None:
    """As `solve`, in n²·c operations in place of n³; None where rounding keeps them from a solution.

    Source: arXiv:1005.0671, sections on Schur's algorithm and on hyperbolic rotations in mixed form; in blocks here.
    """
    channels, _, taps = sides.shape
    try:
        factor = _factor(gram(correlation, gcd(taps, max(1, BLOCK // channels))).numpy())
    except np.linalg.LinAlgError:
        return None
    solution, left = torch.zeros_like(sides), sides
    for _ in range(CORRECTIONS):
        more = cho_solve((factor.T, True), _flat(left).numpy(), check_finite=False)
        solution = solution + _filters(torch.from_numpy(more), sides)
        left = sides - multiply(correlation, solution)
        if (left.square().sum((0, 2)) <= RESIDUAL**2 * sides.square().sum((0, 2))).all():
            return solution
    return None


def multiply(correlation: Tensor, filters: Tensor) -> Tensor:
    """Products of the system's matrix with filters."""
    taps = filters.shape[-1]
    backwards = correlation.transpose(0, 1)[..., 1:].flip(-1)  # a negative lag is a positive of the channels exchanged
    # Circular, and long enough that nothing wraps.
    lags = torch.cat([correlation, torch.zeros_like(correlation[..., :1]), backwards], dim=-1)
    spectra = torch.einsum("ijf,jmf->imf", rfft(lags), rfft(filters, n=2 * taps))
    return irfft(spectra, n=2 * taps)[..., :taps]


def gram(correlation: Tensor, delays: int | None = None) -> Tensor:
    """The system's matrix (n, n), or its rows of the first `delays` delays, (delays·c, n)."""
    channels, _, taps = correlation.shape
    delays = delays or taps
    # Lags fall, so that a delay's rows are a slice.
    falling = torch.cat([correlation.flip(-1), correlation.transpose(0, 1)[..., 1:]], dim=-1)
    falling = falling.transpose(1, 2).contiguous()
    products = correlation.new_empty(delays, channels, taps, channels)
    for delay in range(delays):
        products[delay] = falling[:, taps - 1 - delay : 2 * taps - 1 - delay]
    return products.view(delays * channels, taps * channels)


def _factor(first: np.ndarray) -> np.ndarray:
    """Upper triangle R (n, n) with RᵀR = T, of the first rows (b, n) of T; what is below R's diagonal is undefined.

    T less itself moved down and right by a block of b is AᵀA − BᵀB. Each step moves A by a block, and turns A and B
    so that the first block of B vanishes and the difference stays: A is then the next rows of R.

    Raises LinAlgError where a step does not find T positive definite.
    """
    size, n = first.shape
    factor, one = np.empty((n, n)), np.eye(size)
    factor[:size] = np.linalg.solve(np.linalg.cholesky(first[:, :size]), first)
    rest = factor[:size]
    for start in range(size, n, size):
        rows, rest = factor[start - size : start, start - size : -size], rest[:, size:]
        ahead, vanishing = rows[:, :size], rest[:, :size]
        diagonal = np.linalg.cholesky(ahead.T @ ahead - vanishing.T @ vanishing).T
        reflection = np.linalg.solve(ahead.T, vanishing.T)
        turn = np.linalg.solve(diagonal.T, ahead.T)
        turned = factor[start : start + size, start:]
        turned[:] = turn @ rows - (turn @ reflection) @ rest
        turned[:, :size] = diagonal
        lower = np.linalg.cholesky(one - reflection.T @ reflection)
        rest = lower.T @ rest - np.linalg.solve(lower, np.linalg.solve(turn.T, reflection).T) @ turned
    return factor


def _by_factors(products: Tensor, sides: Tensor) -> Tensor:
    """Solution (n, m) for a symmetric matrix (n, n) and right sides (n, m)."""
    factor, failed = torch.linalg.cholesky_ex(products)
    if not failed:
        return torch.cholesky_solve(sides, factor)
    solution, failed = torch.linalg.solve_ex(products, sides)
    if not failed and solution.isfinite().all():
        return solution
    # On a CPU the method that expects singular matrices.
    return torch.linalg.lstsq(products.cpu(), sides.cpu()).solution.to(sides)


def _flat(filters: Tensor) -> Tensor:
    """(c, m, taps) as (n, m)."""
    return filters.permute(2, 0, 1).flatten(0, 1)


def _filters(flat: Tensor, like: Tensor) -> Tensor:
    """(n, m) as (c, m, taps)."""
    return flat.unflatten(0, (like.shape[-1], like.shape[0])).permute(1, 2, 0)
