from __future__ import annotations

import math

import pytest
import torch
import torchaudio

from tests.data.augmentation.conftest import strong
from tfswa_unet.data.augmentation.levels import lufs

RATE = 8_000


def test_gain_scales_each_stem_by_one_factor_in_range(stems, generator):
    result = strong("gain", p=1.0, low=0.7, high=1.3, generator=generator).train()(stems)
    factors = (result * stems).sum((-1, -2)) / stems.square().sum((-1, -2))
    torch.testing.assert_close(result, stems * factors[..., None, None])
    assert factors.unique().numel() == factors.numel()
    assert factors.min() >= 0.7
    assert factors.max() <= 1.3


def test_the_range_of_gain_is_filled_evenly(generator):
    factors = (
        strong("gain", p=1.0, low=0.7, high=1.3, generator=generator).train()(torch.ones(2_000, 1, 1, 1)).flatten()
    )
    assert torch.histc(factors, 6, 0.7, 1.3).min() > 250
    assert factors.mean().item() == pytest.approx(1, abs=0.02)


def test_chosen_stems_change_their_sign_and_nothing_else(stems, generator):
    result = strong("polarity", p=0.5, generator=generator).train()(stems)
    sign = (result / stems)[..., :1, :1]
    assert set(sign.flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(result, stems * sign)


def test_left_and_right_change_places_stem_by_stem(stems, generator):
    result = strong("channel_swap", p=0.5, generator=generator).train()(stems)
    swapped = (result == stems.flip(2)).all(-1).all(-1)
    kept = (result == stems).all(-1).all(-1)
    assert (swapped ^ kept).all()
    assert swapped.any()
    assert kept.any()


def test_a_channel_swap_leaves_mono_as_it_is():
    mono = torch.randn(2, 2, 1, 10)
    assert torch.equal(strong("channel_swap", p=1.0).train()(mono), mono)


def loudness(stems: torch.Tensor) -> torch.Tensor:
    return torchaudio.functional.loudness(stems, RATE)


@pytest.fixture
def uneven(stems):
    """Stems at −40 to +6 dB, a second long."""
    return stems * torch.logspace(-2, 0.3, 12).view(4, 3, 1, 1)


def test_without_a_spread_all_stems_become_as_loud_as_their_mean(uneven):
    result = strong("loudness", p=1.0, spread=0, floor=-70, rate=RATE).train()(uneven)
    expected = loudness(uneven).mean(1, keepdim=True).expand(-1, 3)
    torch.testing.assert_close(loudness(result), expected, atol=0.02, rtol=0)


def test_the_spread_moves_each_by_itself_within_its_range(uneven, generator):
    result = strong("loudness", p=1.0, spread=4, floor=-70, rate=RATE, generator=generator).train()(uneven)
    moved = loudness(result) - loudness(uneven).mean(1, keepdim=True)
    assert moved.abs().max() < 4.05
    assert moved.min() < -1
    assert moved.max() > 1
    assert moved.unique().numel() == 12
    factors = result / uneven
    torch.testing.assert_close(factors, factors[..., :1, :1].expand_as(factors), rtol=1e-4, atol=0)


def test_silent_and_nearly_silent_stems_stay_and_do_not_count(uneven):
    uneven = uneven.clone()
    uneven[1, 0] = 0
    uneven[2, 1] *= 1e-3
    result = strong("loudness", p=1.0, spread=0, rate=RATE).train()(uneven)
    assert torch.equal(result[1, 0], uneven[1, 0])
    assert torch.equal(result[2, 1], uneven[2, 1])
    expected = loudness(uneven[1:2, 1:]).mean()
    torch.testing.assert_close(loudness(result[1:2, 1:]), expected.expand(1, 2), atol=0.02, rtol=0)


def test_the_stems_that_are_not_chosen_count_in_the_mean_and_stay(uneven, generator):
    result = strong("loudness", p=0.5, spread=0, floor=-70, rate=RATE, generator=generator).train()(uneven)
    changed = (result != uneven).flatten(2).any(2)
    assert 2 <= changed.sum() <= 10
    mean = loudness(uneven).mean(1, keepdim=True).expand(-1, 3)
    torch.testing.assert_close(loudness(result)[changed], mean[changed], atol=0.02, rtol=0)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_lufs_agree_with_torchaudio(rate):
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(2, 3, 2, 2 * rate, generator=generator)
    waveform[0, 1, :, rate // 2 :] *= 0.003  # the gate leaves these blocks out
    waveform[1, 2] *= torch.linspace(0, 1, 2 * rate)
    found = lufs(waveform, rate)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, torchaudio.functional.loudness(waveform, rate), atol=0.01, rtol=0)


def test_a_sine_at_full_scale_in_one_channel_is_minus_three():
    """The Recommendation calibrates with 997 Hz, −3.01 LKFS; its curve is met within 0.05 dB there."""
    t = torch.arange(96_000, dtype=torch.float64) / 48_000
    sine = torch.sin(2 * math.pi * 997 * t).float()[None]
    assert lufs(sine, 48_000).item() == pytest.approx(-3.01, abs=0.05)


def test_silence_has_no_loudness_and_short_sounds_have_one():
    assert lufs(torch.zeros(2, 1, 20_000), 44_100).tolist() == [-math.inf] * 2
    short = torch.randn(1, 1_000, generator=torch.Generator().manual_seed(0))
    assert lufs(0.1 * short, 44_100).isfinite()
