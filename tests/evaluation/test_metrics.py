from __future__ import annotations

import museval
import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from tests.evaluation.conftest import noise
from tfswa_unet.evaluation.metrics import sdr, si_sdr, windowed_sdr, windows


def museval_sdr(reference, estimate, window, hop):
    """museval's SDR (s, windows) of stems (s, c, t)."""
    return museval.metrics.bss_eval(
        np.moveaxis(reference, 1, 2), np.moveaxis(estimate, 1, 2), window=window, hop=hop, filters_len=32
    )[0]


def pair(seconds=1.0, stems=2):
    reference = np.stack([noise(s, seconds) for s in range(stems)])
    return reference, (0.9 * reference + np.stack([noise(s + 50, seconds, 0.02) for s in range(stems)]))


def test_sdr_of_a_known_error():
    reference = torch.ones(3, 2, 1000, dtype=torch.float64)
    estimate = reference * torch.tensor([0.9, 0.0, 1.5])[:, None, None]
    assert sdr(reference, estimate).numpy() == pytest.approx([20, 0, 10 * np.log10(4)], abs=1e-5)


def test_sdr_of_silence_is_finite():
    sound, silence = torch.ones(2, 100), torch.zeros(2, 100)
    assert sdr(silence, silence).item() == 0
    assert sdr(sound, silence).item() == pytest.approx(0, abs=1e-6)
    assert sdr(silence, sound).item() == pytest.approx(10 * np.log10(1e-7 / 200), abs=1e-3)


def test_sdr_of_half_precision_is_computed_in_single():
    reference = torch.rand(2, 4000)
    assert sdr(reference.bfloat16(), (reference * 0.9).bfloat16()).dtype == torch.float32


def test_si_sdr_equals_torchmetrics():
    reference, estimate = (torch.from_numpy(x).double() for x in pair())
    expected = scale_invariant_signal_distortion_ratio(estimate.flatten(-2), reference.flatten(-2))
    assert si_sdr(reference, estimate).numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_si_sdr_does_not_see_the_level_but_sees_the_balance():
    reference, estimate = (torch.from_numpy(x) for x in pair())
    assert si_sdr(reference, 0.3 * estimate).numpy() == pytest.approx(si_sdr(reference, estimate).numpy(), abs=1e-3)
    assert (si_sdr(reference, reference * torch.tensor([1.0, 0.5])[:, None]) < 15).all()


@pytest.mark.parametrize(
    ("length", "window", "hop"),
    [
        (8000, 2000, 2000),
        (8000, 2000, 1500),
        (8100, 2000, 2500),
        (1999, 2000, 2000),
        (2000, 2000, 500),
        (8000, 777, 333),
    ],
)
def test_windowed_sdr_equals_museval(length, window, hop):
    reference, estimate = (x[..., :length] for x in pair(8100 / 8000))
    expected = museval_sdr(reference, estimate, window, hop)
    ours = windowed_sdr(torch.from_numpy(reference), torch.from_numpy(estimate), window, hop, museval_nan=True)
    assert ours.shape == expected.shape
    assert ours.shape[-1] == windows(length, window, hop)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6, rtol=0)


def test_a_silent_window_is_nan_for_all_stems_as_in_museval_and_for_one_stem_otherwise():
    reference, estimate = pair()
    reference[0, :, 2000:4000] = 0
    estimate[1, :, 4000:6000] = 0
    expected = museval_sdr(reference, estimate, 2000, 2000)
    arguments = torch.from_numpy(reference), torch.from_numpy(estimate), 2000, 2000
    np.testing.assert_allclose(windowed_sdr(*arguments, museval_nan=True).numpy(), expected, atol=1e-6, rtol=0)
    assert np.isnan(expected).tolist() == [[False, True, True, False]] * 2
    alone = windowed_sdr(*arguments)
    assert alone.isnan().tolist() == [[False, True, False, False], [False, False, True, False]]
    expected = museval_sdr(reference[:1], estimate[:1], 2000, 2000)
    np.testing.assert_allclose(windowed_sdr(*(x[:1] for x in arguments[:2]), 2000, 2000).numpy(), expected, atol=1e-6)


def test_channels_that_cancel_are_silent_for_museval_only():
    reference, estimate = pair()
    reference[0, 1, 2000:4000] = -reference[0, 0, 2000:4000]
    arguments = torch.from_numpy(reference), torch.from_numpy(estimate), 2000, 2000
    ours = windowed_sdr(*arguments, museval_nan=True).numpy()
    np.testing.assert_allclose(ours, museval_sdr(reference, estimate, 2000, 2000), atol=1e-6, rtol=0)
    assert np.isnan(ours[:, 1]).all()
    assert not windowed_sdr(*arguments).isnan().any()


def test_a_perfect_window_is_infinite():
    reference = torch.from_numpy(pair()[0])
    assert (windowed_sdr(reference, reference, 2000, 2000) == torch.inf).all()


def test_leading_axes_are_kept():
    reference, estimate = (torch.from_numpy(x).reshape(2, 1, 2, -1).repeat(1, 3, 1, 1) for x in pair())
    assert sdr(reference, estimate).shape == si_sdr(reference, estimate).shape == (2, 3)
    assert windowed_sdr(reference, estimate, 2000, 2000).shape == (2, 3, 4)
