from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.data.augmentation.pitch import fit, shift, stretch

RATE = 16_000


def sines(*frequencies: float, length: int = RATE) -> torch.Tensor:
    time = torch.arange(length, dtype=torch.float64) / RATE
    return torch.stack([torch.sin(2 * math.pi * frequency * time) for frequency in frequencies]).float()


def frequency(waveform: torch.Tensor) -> float:
    """Peak of the spectrum of the middle, refined by its instantaneous phase (scipy's analytic signal)."""
    middle = waveform.numpy()[len(waveform) // 4 : -len(waveform) // 4].astype(np.float64)
    phase = np.unwrap(np.angle(scipy.signal.hilbert(middle)))[200:-200]
    return float(np.polyfit(np.arange(len(phase)), phase, 1)[0] * RATE / (2 * np.pi))


@pytest.mark.parametrize("rate", [0.9, 0.97, 1.04, 1.1])
def test_a_stretched_sine_keeps_its_frequency_and_level(rate):
    result = stretch(sines(1_010, length=2 * RATE), rate)[0]
    assert len(result) == round(2 * RATE / rate)
    assert frequency(result) == pytest.approx(1_010, abs=0.5)
    middle = result[4_000:-4_000]
    assert middle.square().mean().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_clicks_come_at_the_new_tempo(rate):
    clicks = torch.zeros(1, 4 * RATE)
    places = torch.arange(1, 8) * RATE // 2
    clicks[0, places] = 1
    envelope = stretch(clicks, rate, n_fft=512, hop=128)[0].abs().numpy()
    found, _ = scipy.signal.find_peaks(envelope, height=0.2, distance=RATE // 4)
    np.testing.assert_allclose(found, places.numpy() / rate, atol=150)


def test_stretching_by_a_rate_of_one_gives_back_the_input():
    waveform = torch.randn(2, 2, 9_001, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stretch(waveform, 1.0), waveform, atol=1e-5, rtol=0)


def test_channels_in_opposite_phase_stay_in_opposite_phase():
    left = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    result = stretch(torch.cat([left, -0.5 * left]), 0.93)
    torch.testing.assert_close(result[1], -0.5 * result[0], atol=1e-5, rtol=0)
    assert result.square().mean() > 0.1


def test_the_phase_between_the_channels_of_a_sine_stays():
    quarter = RATE // 1_000 // 4
    stereo = torch.cat([sines(1_000, length=2 * RATE), sines(1_000, length=2 * RATE).roll(quarter, -1)])
    left, right = stretch(stereo, 1.07)[:, 4_000:-4_000]
    torch.testing.assert_close(right[quarter:], left[:-quarter], atol=0.02, rtol=0)


def test_the_stereo_image_turns_with_the_channels():
    """Middle and side of the stretched signal are the stretched middle and side, whatever plays left and right."""
    stereo = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    rotation = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    torch.testing.assert_close(stretch(rotation @ stereo, 0.93), rotation @ stretch(stereo, 0.93), atol=1e-3, rtol=0)


def test_leading_axes_are_treated_alone():
    waveform = torch.randn(2, 3, 2, 6_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stretch(waveform, 0.95)[1, 2], stretch(waveform[1, 2], 0.95))


def test_what_follows_silence_is_not_lost():
    waveform = torch.cat([torch.zeros(1, RATE), sines(1_000)], -1)
    late = stretch(waveform, 1.1)[0, RATE:-2_000]
    assert late.square().mean().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("level", [1e-19, 1e-22, 1e-30, 1e-38])
def test_what_is_far_too_faint_to_be_heard_stays_finite(level):
    """Products of such frames have hardly any digits: the end of a decoded recording, say, that a codec faded."""
    faint = level * torch.randn(2, RATE // 2, generator=torch.Generator().manual_seed(0))
    stretched = stretch(faint, 1.2134)
    assert stretched.isfinite().all()
    assert stretched.abs().max() <= 2 * faint.abs().max()


def test_fit_cuts_and_fills():
    assert fit(torch.arange(5), 3).tolist() == [0, 1, 2]
    assert fit(torch.arange(2), 4).tolist() == [0, 1, 0, 0]


def peak(waveform: torch.Tensor) -> float:
    """Frequency of the largest peak, by a zero-padded spectrum."""
    spectrum = np.abs(np.fft.rfft(waveform.numpy() * np.hanning(len(waveform)), 1 << 19))
    return float(spectrum.argmax()) * RATE / (1 << 19)


@pytest.mark.parametrize("semitones", [-2.0, -0.7, 1.0, 2.0])
def test_a_shifted_sine_moves_by_the_interval_within_a_cent_and_keeps_length_and_level(semitones):
    result = shift(sines(1_000), semitones)[0]
    assert result.shape == (RATE,)
    cents = 1_200 * math.log2(peak(result) / (1_000 * 2 ** (semitones / 12)))
    assert abs(cents) < 1.5
    assert result[3_000:-3_000].square().mean().item() == pytest.approx(0.5, rel=0.03)


def test_a_shifted_burst_stays_in_its_place():
    burst = torch.zeros(1, RATE)
    burst[0, 8_000:8_800] = sines(2_000)[0, :800]
    energy = shift(burst, 2.0)[0].square()
    centre = (energy * torch.arange(RATE)).sum() / energy.sum()
    assert centre.item() == pytest.approx(8_400, abs=300)


def test_stems_of_an_example_stay_in_tune_and_examples_differ(generator):
    stems = sines(500, 1_000).view(1, 2, 1, -1).repeat(4, 1, 1, 1)
    result = strong("pitch", p=1.0, generator=generator).train()(stems)
    ratios = np.array([[peak(x[0, 0]) / 500, peak(x[1, 0]) / 1_000] for x in result])
    np.testing.assert_allclose(ratios[:, 0], ratios[:, 1], rtol=5e-4)
    assert len(set(ratios[:, 0].round(4))) == 4
    assert (abs(12 * np.log2(ratios)) <= 2.02).all()


def test_apart_every_stem_has_its_own_interval(generator):
    stems = sines(500, 500, 500).view(1, 3, 1, -1)
    result = strong("pitch", p=1.0, together=False, generator=generator).train()(stems)
    assert len({round(peak(x[0]), 1) for x in result[0]}) == 3


def test_a_time_stretch_is_the_phase_vocoder_at_the_rate_that_was_asked_for(stems):
    result = strong("time_stretch", p=1.0, low=1.08, high=1.08).train()(stems)
    torch.testing.assert_close(result, fit(stretch(stems, 1.08), 8_000), atol=1e-4, rtol=0)


@pytest.mark.parametrize("together", [True, False])
def test_stems_share_their_rate_only_when_together(together, generator):
    """A stem that ends before the segment does tells its rate by where it ends now."""
    stems = torch.zeros(6, 3, 1, 8_000)
    stems[..., :6_000] = torch.randn(6, 1, 1, 6_000, generator=generator)
    result = strong("time_stretch", p=1.0, together=together, generator=generator).train()(stems)
    same = torch.isclose(result, result[:, :1], atol=1e-5).all(-1).flatten(1).all(1)
    assert same.all() if together else not same.any()
    ends = (result.abs() > 0.3).float().flatten(2).cumsum(-1).argmax(-1)
    assert ends.min() > 6_000 / 1.1 - 1_100
    assert ends.max() < 6_000 / 0.9 + 1_100
    assert ends[:, 0].unique().numel() > 3


def test_a_faster_song_ends_in_zeros(stems):
    result = strong("time_stretch", p=1.0, low=1.1, high=1.1).train()(stems)
    end = round(8_000 / 1.1)
    assert (result[..., end:] == 0).all()
    assert (result[..., end - 300 : end] != 0).any()


def test_stretching_the_stems_alike_keeps_the_mixture_close_to_a_stretched_mixture(generator):
    """Sines far apart in frequency: each bin belongs to one stem, so sum and stretch can change places."""
    t = torch.arange(16_000) / 16_000
    stems = torch.stack([torch.sin(6.2832 * f * t) for f in (300.0, 1_100.0, 4_000.0)]).view(1, 3, 1, -1)
    result = strong("time_stretch", p=1.0, low=0.93, high=0.93).train()(stems).sum(1)
    expected = fit(stretch(stems.sum(1), 0.93), 16_000)
    error = (result - expected)[..., 2_000:-2_000].square().mean() / expected.square().mean()
    assert error < 1e-3
