"""Filters by normal equations, beside NumPy's solution of the whole system."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.evaluation.conftest import noise
from tfswa_unet.evaluation.projections import correlations
from tfswa_unet.evaluation.toeplitz import by_schur, gram, multiply, solve

TAPS = 10


def delayed(channels: np.ndarray, taps: int = TAPS) -> np.ndarray:
    """Channels (c, t) at delays of 0 … taps − 1 samples, each in a row, (taps·c, t + taps − 1)."""
    return np.stack([np.pad(x, (delay, taps - 1 - delay)) for delay in range(taps) for x in channels])


def system(channels: np.ndarray, m: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlations (c, c, taps) of channels and right sides (c, m, taps)."""
    x = torch.from_numpy(channels)
    sides = torch.randn(len(x), m, TAPS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return correlations(x, x, TAPS)[:, : len(x)], sides


def flat(filters: torch.Tensor) -> np.ndarray:
    """(c, m, taps) as (taps·c, m)."""
    return filters.permute(2, 0, 1).flatten(0, 1).numpy()


def three_channels() -> np.ndarray:
    return np.concatenate([noise(1, 200 / 8000), noise(2, 200 / 8000)])[:3].astype(float)


def test_the_gram_matrix_is_of_delayed_channels():
    channels = three_channels()
    rows = delayed(channels)
    np.testing.assert_allclose(gram(system(channels)[0]).numpy(), rows @ rows.T, atol=1e-12)
    np.testing.assert_allclose(gram(system(channels)[0], 4).numpy(), rows[:12] @ rows.T, atol=1e-12)


def test_products_with_filters_are_those_with_the_matrix():
    correlation, filters = system(three_channels())
    expected = gram(correlation).numpy() @ flat(filters)
    np.testing.assert_allclose(flat(multiply(correlation, filters)), expected, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("way", [by_schur, solve])
def test_filters_solve_the_whole_system(channels, way):
    correlation, sides = system(three_channels()[:channels])
    expected = np.linalg.solve(gram(correlation).numpy(), flat(sides))
    np.testing.assert_allclose(flat(way(correlation, sides)), expected, rtol=1e-9, atol=1e-9)


def test_one_tap_is_a_system_of_channels():
    channels = torch.from_numpy(three_channels())
    correlation, sides = (channels @ channels.T)[..., None], torch.ones(3, 1, 1, dtype=torch.float64)
    expected = np.linalg.solve(correlation[..., 0].numpy(), sides[..., 0].numpy())
    np.testing.assert_allclose(by_schur(correlation, sides)[..., 0].numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("cutoff", [0.5, 0.3])
def test_music_without_treble_is_solved_as_well_as_by_lu(cutoff):
    """Nothing lies above the cut-off but museval's addition to the diagonal: the worst that is still regular."""
    spectrum = np.fft.rfft(np.stack([noise(seed, 1.0)[0] for seed in range(2)]).astype(float))
    spectrum[:, int(cutoff * spectrum.shape[1]) :] *= 1e-5
    channels = torch.from_numpy(np.fft.irfft(spectrum))
    correlation = correlations(channels, channels, 64)[:, :2]
    correlation /= correlation[range(2), range(2), 0].max()
    correlation.diagonal()[0] += np.finfo(float).eps
    sides = correlations(channels, channels.roll(3, -1), 64)[:, 2:]
    products = gram(correlation).numpy()
    assert np.linalg.cond(products) > 1e8
    left, of_lu = (
        np.abs(products @ found - flat(sides)).max()
        for found in (flat(by_schur(correlation, sides)), np.linalg.solve(products, flat(sides)))
    )
    assert left < max(10 * of_lu, 1e-12 * np.abs(flat(sides)).max())


@pytest.mark.parametrize(
    ("correlation", "sides"),
    [
        ([[[2.0, 1.0]]], [[[3.0, 3.0]]]),
        ([[[1.0, 2.0]]], [[[3.0, 3.0]]]),  # not positive: no Cholesky factors
        ([[[1.0, 1.0]]], [[[2.0, 2.0]]]),  # singular
    ],
)
def test_normal_equations_are_solved_whatever_their_rank(correlation, sides):
    found = solve(torch.tensor(correlation, dtype=torch.float64), torch.tensor(sides, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), [[[1.0, 1.0]]], atol=1e-12)


def test_a_solution_that_rounding_spoilt_is_not_given():
    """A system that is regular by its last digits only: what Schur's algorithm finds does not solve it."""
    correlation, sides = system(three_channels()[:1])
    singular = torch.ones_like(correlation)
    singular[..., 0] += 1e-15
    assert by_schur(correlation, sides) is not None
    assert by_schur(singular, sides) is None
    whole = solve(singular, torch.ones_like(sides))
    np.testing.assert_allclose(whole.sum(-1).numpy(), 1, rtol=1e-9)
