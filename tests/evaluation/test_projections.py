"""BSSEval version 4 in torch beside museval, which computed it first."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.conftest import noise
from tfswa_unet import audio
from tfswa_unet.evaluation.bsseval import load_museval, score
from tfswa_unet.evaluation.projections import TAPS, bss_eval, correlations, independent
from tfswa_unet.evaluation.references import ideal_ratio_mask
from tfswa_unet.songs import synthesize

WINDOW, SHORT = 800, 40  # samples at 8 kHz, taps
PERFECT = 100  # dB; above, museval's numbers are rounding errors where ours may be infinite


def by_museval(references, estimates, window=WINDOW, hop=WINDOW, taps=SHORT):
    """museval's SDR, ISR, SIR and SAR (s, 4, windows) of stems (s, c, t)."""
    stems = (np.moveaxis(stems, 1, 2) for stems in (references, estimates))
    found = load_museval().metrics.bss_eval(*stems, window, hop, compute_permutation=False, filters_len=taps)
    return np.stack(found[:4], axis=1)


def by_torch(references, estimates, window=WINDOW, hop=WINDOW, taps=SHORT):
    return bss_eval(torch.from_numpy(references), torch.from_numpy(estimates), window, hop, taps).numpy()


def assert_agree(found, expected, tolerance=1e-3):
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    perfect = (found > PERFECT) & (expected > PERFECT)
    np.testing.assert_allclose(found[~perfect], expected[~perfect], rtol=0, atol=tolerance)


def stems(count=4, seconds=0.55, channels=2):
    """True stems and estimates with filtering, interference and noise in them, (s, c, t)."""
    references = np.stack([noise(seed, seconds)[:channels] for seed in range(count)])
    estimates = 0.8 * references + 0.05 * references.sum(0) + 0.2 * np.roll(references, 3, axis=-1)
    return references, estimates + np.stack([noise(90 + seed, seconds, 0.02)[:channels] for seed in range(count)])


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_window_is_musevals(count, channels):
    pair = stems(count, channels=channels)
    found, expected = by_torch(*pair), by_museval(*pair)
    assert found.shape == (count, 4, 5)
    assert_agree(found, expected)
    assert np.isfinite(found[:, :2]).all()
    assert (found[:, 2] == np.inf).all() == (count == 1)  # nothing interferes with a stem that is alone


@pytest.mark.parametrize(
    ("length", "window", "hop"), [(2400, 800, 500), (2400, 800, 1100), (799, 800, 800), (800, 800, 800), (30, 800, 800)]
)
def test_windows_overlap_or_leave_gaps_or_are_longer_than_the_track(length, window, hop):
    references, estimates = (each[..., :length] for each in stems(2))
    assert_agree(by_torch(references, estimates, window, hop, 8), by_museval(references, estimates, window, hop, 8))


@pytest.mark.parametrize("quiet", ["reference", "estimate", "both", "cancelling"])
def test_a_silent_window_of_one_stem_is_nan_for_all(quiet):
    references, estimates = stems(2)
    window = slice(WINDOW, 2 * WINDOW)
    if quiet == "cancelling":
        references[0, 1, window] = -references[0, 0, window]
    if quiet in ("reference", "both"):
        references[0, :, window] = 0
    if quiet in ("estimate", "both"):
        estimates[1, :, window] = 0
    found = by_torch(references, estimates)
    assert_agree(found, by_museval(references, estimates))
    assert np.isnan(found).all((0, 1)).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_stem_silent_throughout_leaves_nothing_to_compare(quiet):
    pair = stems(2)
    pair[quiet][1] = 0
    assert np.isnan(by_torch(*pair)).all()
    with pytest.raises(ValueError, match="non-silent"):
        by_museval(*pair)


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_stem_silent_throughout_is_left_out_of_the_others_scores(quiet):
    pair = stems(3)
    pair[quiet][1] = 0
    names = ("a", "b", "c")
    given = [dict(zip(names, each.astype(np.float32), strict=True)) for each in pair]
    found, expected = (score("song", *given, 1500, 1500, evaluator=evaluator) for evaluator in ("torch", "museval"))
    assert found.left_out == expected.left_out == ("b",)
    for stem in names:
        assert_agree(np.stack([*found.frames[stem].values()])[None], np.stack([*expected.frames[stem].values()])[None])


def test_a_perfect_estimate_is_above_all_measure():
    references, _ = stems(3)
    found = by_torch(references, references)
    assert_agree(found, by_museval(references, references))
    assert (found > PERFECT).all()
    assert (found[:, 0] == np.inf).all()


def test_one_perfect_estimate_among_others():
    references, estimates = stems(3)
    estimates[1] = references[1]
    found = by_torch(references, estimates)
    assert_agree(found, by_museval(references, estimates))
    assert (found[1] > PERFECT).all()
    assert (found[0] < 40).all()


def test_the_mixture_as_estimate_has_interference_only():
    references, _ = stems(3)
    estimates = np.broadcast_to(references.sum(0), references.shape).copy()
    found = by_torch(references, estimates)
    assert_agree(found, by_museval(references, estimates))
    assert (found[:, 3] > PERFECT).all()
    assert (found[:, 2] < 10).all()


@pytest.mark.parametrize("shift", [1, -1])
def test_an_estimate_off_by_one_sample(shift):
    references, _ = stems(2)
    estimates = np.zeros_like(references)
    estimates[..., max(0, shift) :][..., : references.shape[-1] - 1] = references[..., max(0, -shift) :][
        ..., : references.shape[-1] - 1
    ]
    found = by_torch(references, estimates)
    assert_agree(found, by_museval(references, estimates))
    assert (found[:, 0] < 0).all()
    # A filter delays, and does not see ahead.
    assert (found[:, 3] > 20).all() == (shift == 1)


def test_channels_alike_or_empty():
    references, estimates = stems(3)
    references[0, 1] = references[0, 0]
    references[1, 1] = -0.5 * references[1, 0]
    references[2, 1] = 0
    assert_agree(by_torch(references, estimates), by_museval(references, estimates))


def test_levels_make_no_difference():
    references, estimates = stems(3)
    levels = np.array([1e-4, 1, 1e3])[:, None, None]
    pair = references * levels, estimates * levels
    assert_agree(by_torch(*pair), by_museval(*pair))


@pytest.mark.slow
def test_default_filters_on_synthetic_music():
    rate = 22_050
    references = np.stack([*synthesize(3, 3.0, rate).values()])[:3]
    mixture = references.sum(0)
    estimates = np.stack([*ideal_ratio_mask(mixture, dict(enumerate(references))).values()])
    pair = references, estimates + np.stack([noise(seed, 3.0, 1e-3, rate) for seed in range(3)])
    assert_agree(by_torch(*pair, rate, rate, TAPS), by_museval(*pair, rate, rate, TAPS))


@pytest.mark.slow
def test_default_filters_on_a_real_song():
    folder = Path(find_spec("stempeg").origin).parent / "data"
    song = next(folder.glob("*.stem.mp4"), None)
    if song is None:
        pytest.skip("stempeg carries no song")
    rate = audio.probe(song, 1).rate
    decoded = np.stack([audio.read(song, stream=stream, start=rate, length=2 * rate) for stream in (1, 2, 4)])
    # As MUSDB18-HQ holds them. Decoded to more than 16 bits nothing lies above 16 kHz, and what filters do there, and
    # at the edges of windows with it, is museval's rounding: its SIR changes by tenths of a dB if all is made louder.
    references = np.round(decoded * 32_767).astype(np.float32) / 32_768
    estimates = np.stack([*ideal_ratio_mask(references.sum(0), dict(enumerate(references))).values()])
    pair = references, estimates
    assert_agree(by_torch(*pair, rate, rate, TAPS), by_museval(*pair, rate, rate, TAPS))


def test_correlations_are_sums_of_products_across_blocks():
    first, second = (noise(seed, 1500 / 8000)[:, :1499] for seed in (1, 2))
    found = correlations(torch.from_numpy(first), torch.from_numpy(second), 20).numpy()
    assert found.shape == (2, 4, 20)
    for lag in (0, 1, 19):
        ahead = np.concatenate([first, second])[:, lag:].astype(float)
        np.testing.assert_allclose(found[..., lag], first[:, : 1499 - lag].astype(float) @ ahead.T, atol=1e-12)


def test_channels_that_depend_on_others_are_found():
    x = noise(1, 0.1).astype(float)
    channels = np.stack([x[0], 0.3 * x[0], np.zeros_like(x[0]), x[1], x[0] - 2 * x[1], x[0] + 1e-5 * x[1][::-1]])
    assert independent(torch.from_numpy(channels @ channels.T)) == [0, 3, 5]
