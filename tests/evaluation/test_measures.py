"""Measures of whole tracks beside closed forms, and beside their formulas written down once more in float64."""

import numpy as np
import pytest
import torch

from tests.evaluation.conftest import RATE, noise
from tfswa_unet.evaluation.measures import (
    REST,
    bark,
    leakage,
    log_spectral_distance,
    noise_to_mask,
    null_error,
    spectral_measures,
    whole_track,
)

N_FFT = 512  # samples of 46 ms at 8 kHz, to the nearest power of two


def spectral(reference, estimate, rate=RATE):
    """LSD and NMR of one stem (c, t)."""
    found = spectral_measures(*(torch.from_numpy(x.astype(np.float32))[None] for x in (reference, estimate)), rate)
    return [each.item() for each in found]


def powers(signal, n_fft=N_FFT):
    """Float64 powers (c, n, f), 1 for all bins of a full-scale sine together."""
    hop = n_fft // 2
    padded = np.pad(signal.astype(float), ((0, 0), (hop, hop)))
    count = signal.shape[1] // hop + 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.stack([padded[:, i * hop : i * hop + n_fft] * window for i in range(count)], axis=1)
    return np.abs(np.fft.rfft(frames)) ** 2 / (1.5 * (n_fft / 4) ** 2)


def plain_nmr(reference, estimate, rate=RATE, n_fft=N_FFT):
    """The noise-to-mask ratio of one stem, band by band."""
    hertz = np.arange(n_fft // 2 + 1) * rate / n_fft
    band_of = np.floor((26.81 * hertz / (1960 + hertz)) / 0.5).astype(int)
    count = band_of.max() + 1
    masker, error = (
        np.stack([each[..., band_of == k].sum(-1) for k in range(count)], -1)
        for each in (powers(reference, n_fft), powers(reference - estimate, n_fft))
    )
    centres = [0.5 * k + 0.25 - 0.53 for k in range(count)]
    threshold, quiet = np.zeros_like(masker), np.zeros(count)
    for k, z in enumerate(centres):
        gains = [10 ** ((15.81 + 7.5 * (d := z - y + 0.474) - 17.5 * np.sqrt(1 + d * d)) / 10) for y in centres]
        spread = sum(gain * masker[..., i] for i, gain in enumerate(gains)) / sum(gains)
        f = min(20, max(0.02, 1.96 * (z + 0.53) / (26.28 - z)))
        quiet[k] = 10 ** ((3.64 * f**-0.8 - 6.5 * np.exp(-0.6 * (f - 3.3) ** 2) + 1e-3 * f**4 - 92) / 10)
        threshold[..., k] = spread * 10 ** (-(3 if z <= 12 else z / 4) / 10) + quiet[k]
    frames = 10 * np.log10(np.maximum((error / threshold).mean((0, 2)), 1e-6))
    return frames[(masker > quiet).any((0, 2))].mean()


@pytest.mark.parametrize("gain", [0.5, 0.8, 3.0])
def test_the_log_spectral_distance_of_another_level_is_that_level(gain):
    stem = noise(1, 0.9)
    assert spectral(stem, gain * stem)[0] == pytest.approx(abs(20 * np.log10(gain)), abs=1e-3)
    assert spectral(stem, stem)[0] == 0


def test_the_log_spectral_distance_is_its_formula():
    stem = noise(1, 0.9)
    stem[:, 2000:5000] = 0
    estimate = noise(2, 0.9)
    estimate[0] *= 1e-7  # below the floor
    floored = [np.log10(np.maximum(powers(each), 1e-10)) for each in (stem, estimate)]
    expected = np.sqrt(np.mean((10 * (floored[0] - floored[1])) ** 2, axis=-1)).mean()
    assert spectral(stem, estimate)[0] == pytest.approx(expected, rel=1e-4)


def test_silence_estimated_as_silence_has_no_distance_and_no_noise_to_mask():
    silence = np.zeros((2, 4000))
    distance, masked = spectral(silence, silence)
    assert distance == 0
    assert np.isnan(masked)
    assert np.isnan(spectral(silence, noise(1, 0.5))[1])


@pytest.mark.parametrize(("rate", "n_fft"), [(RATE, N_FFT), (44_100, 2048), (48_000, 2048), (96_000, 4096)])
def test_the_noise_to_mask_ratio_is_its_formula(rate, n_fft):
    stem, estimate = noise(1, 0.3, rate=rate), 0.9 * noise(1, 0.3, rate=rate) + noise(2, 0.3, 0.003, rate)
    stem[:, : 3 * n_fft] = 0  # two frames that do not count, and one in part
    assert spectral(stem, estimate, rate)[1] == pytest.approx(plain_nmr(stem, estimate, rate, n_fft), abs=1e-3)


def tone(hertz, level, seconds=0.5, rate=44_100):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[None]


def test_noise_is_masked_by_what_is_near_it_and_above_more_than_below():
    stem = tone(1000, 0.5)
    near, above, below, far = (spectral(stem, stem + tone(f, 0.005), 44_100)[1] for f in (1060, 1500, 600, 4000))
    assert near < above < below < far
    assert near < 0 < far


def test_noise_below_the_threshold_in_quiet_is_not_heard():
    stem = tone(1000, 0.01)
    quiet, loud = (spectral(stem, stem + tone(3300, level), 44_100)[1] for level in (1e-5, 1e-3))
    assert quiet < -10 < 10 < loud


def test_ten_times_the_error_is_twenty_decibels_more():
    stem, error = noise(1, 0.5), noise(2, 0.5, 0.001)
    first, second = (spectral(stem, stem + gain * error)[1] for gain in (1, 10))
    assert second - first == pytest.approx(20, abs=1e-3)
    assert spectral(stem, stem)[1] == pytest.approx(-60)


def test_a_frame_is_its_mean_over_channels_and_bands():
    masker, error = torch.rand(1, 2, 3, 50), torch.rand(1, 2, 3, 50)
    left, right = (noise_to_mask(masker[:, [c]], error[:, [c]], 2048, 44_100) for c in (0, 1))
    both = 10 ** (noise_to_mask(masker, error, 2048, 44_100) / 10)
    torch.testing.assert_close(both, (10 ** (left / 10) + 10 ** (right / 10)) / 2)


def test_the_bark_scale_has_its_published_values():
    assert bark(torch.tensor([100.0, 1000.0, 4000.0])).numpy() == pytest.approx([0.771, 8.527, 17.463], abs=1e-3)


def test_distances_of_frames_are_of_decibels():
    powers = torch.tensor([[1.0, 1.0], [1e-3, 0.0]])
    found = log_spectral_distance(powers, torch.tensor([[0.1, 10.0], [1e-3, 1e-12]]))
    assert found.tolist() == pytest.approx([10.0, 0.0])


def leaky(level=0.01):
    """A stem (c, t) silent in its second and fourth half second, its estimate, and the mixture."""
    stem, mixture, error = noise(1, 2.3), noise(3, 2.3), noise(2, 2.3, level)
    stem[:, 4000:8000] = stem[:, 12_000:16_000] = 0
    return stem, stem + error, mixture, error


def test_leakage_is_what_sounds_in_silence():
    stem, estimate, mixture, error = leaky()
    silent = np.r_[4000:8000, 12_000:16_000]
    expected = 10 * np.log10(np.sum(error[:, silent] ** 2.0) / np.sum(mixture[:, silent] ** 2.0))
    tensors = [torch.from_numpy(each) for each in (stem, estimate, mixture)]
    found = leakage(tensors[0][None], tensors[1][None], tensors[2], RATE)
    assert found.item() == pytest.approx(expected, abs=1e-3)
    # What sounds where the stem does, does not count.
    tensors[1][:, :4000] += 1
    assert leakage(tensors[0][None], tensors[1][None], tensors[2], RATE).item() == pytest.approx(found.item())
    tensors[0][:, 4000:] += 9e-4  # below −60 dB full scale is still silent
    assert leakage(tensors[0][None], tensors[0][None], tensors[2], RATE).item() == pytest.approx(-100)


def test_leakage_needs_silence_in_a_mixture_that_sounds():
    stem, estimate, mixture, _ = (torch.from_numpy(each) for each in leaky())
    assert leakage(mixture[None], estimate[None], mixture, RATE).isnan().all()
    assert leakage(stem[None], stem[None], stem, RATE).isnan().all()
    short = [each[..., :1000] for each in (0 * stem[None], 0.1 * mixture[None], mixture)]
    assert leakage(*short, RATE).item() == pytest.approx(-20, abs=1e-3)


def test_the_null_error_is_what_the_stems_leave_of_the_mixture():
    stems = {"a": noise(1, 0.5), "b": noise(2, 0.5)}
    assert null_error(stems, {name: 0.9 * stem for name, stem in stems.items()}) == pytest.approx(-20, abs=1e-4)
    assert null_error(stems, dict.fromkeys(stems, stems["a"] + stems["b"])) == pytest.approx(0, abs=1e-4)
    assert null_error(stems, stems) < -130
    silence = {"a": np.zeros((2, 100), np.float32)}
    assert null_error(silence, silence) is None
    assert null_error(stems | {REST: stems["a"]}, stems) is None


def test_every_stem_but_the_rest_is_measured_and_the_rest_is_in_the_mixture():
    stem, estimate, mixture, error = leaky()
    references = {"a": stem, "silent": 0 * stem, REST: mixture - stem}
    estimates = {"a": estimate, "silent": error, REST: mixture - estimate}
    found = whole_track(references, estimates, RATE)
    assert list(found) == ["SI-SDR", "LSD", "NMR", "leakage"]
    assert all(set(values) == {"a", "silent"} for values in found.values())
    gain = np.sum(stem * estimate, dtype=float) / np.sum(stem**2.0)
    expected = 10 * np.log10(np.sum((gain * stem) ** 2.0) / np.sum((gain * stem - estimate) ** 2.0))
    assert found["SI-SDR"]["a"] == pytest.approx(expected, abs=1e-3)
    assert np.isnan(found["SI-SDR"]["silent"])
    assert np.isnan(found["NMR"]["silent"])
    whole = slice(0, 16_000)  # in frames of half a second
    expected = 10 * np.log10(np.sum(error[:, whole] ** 2.0) / np.sum(mixture[:, whole] ** 2.0))
    assert found["leakage"]["silent"] == pytest.approx(expected, abs=1e-3)
