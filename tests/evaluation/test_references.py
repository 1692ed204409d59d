from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import istft, stft

from tests.evaluation.conftest import noise
from tfswa_unet.evaluation import references
from tfswa_unet.evaluation.metrics import sdr
from tfswa_unet.evaluation.references import (
    HOP,
    N_FFT,
    REFERENCES,
    ideal_binary_mask,
    ideal_ratio_mask,
    mixture_as_estimate,
    multichannel_wiener,
)


def tones(seconds=2.0, rate=8000):
    """A low and a high tone with some noise each, (c, t)."""
    t = np.arange(round(seconds * rate)) / rate
    low, high = 0.3 * np.sin(2 * np.pi * 220 * t), 0.2 * np.sin(2 * np.pi * 2000 * t)
    return {
        "low": low.astype(np.float32) + noise(1, seconds, 0.05),
        "high": high.astype(np.float32) + noise(2, seconds, 0.05),
    }


def test_ideal_ratio_mask_equals_scipy():
    targets = tones()
    mixture = targets["low"] + targets["high"]
    ours = ideal_ratio_mask(mixture, targets)
    settings = {"window": "hann", "nperseg": 2048, "noverlap": 1536}
    spectra = {name: np.abs(stft(audio, **settings)[2]) for name, audio in targets.items()}
    for name in targets:
        masked = stft(mixture, **settings)[2] * spectra[name] / (sum(spectra.values()) + 1e-12)
        expected = istft(masked, **settings)[1][:, : mixture.shape[1]]
        # At the very end scipy has one more frame.
        np.testing.assert_allclose(ours[name][:, :-2048], expected[:, :-2048], atol=2e-5)


def spectra(audio):
    """Float64 STFT of (c, t) by plain sums, (c, n, f)."""
    padded = np.pad(audio.astype(float), ((0, 0), (N_FFT // 2, N_FFT // 2)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    count = audio.shape[1] // HOP + 1
    return np.fft.rfft(np.stack([padded[:, i * HOP : i * HOP + N_FFT] * window for i in range(count)], 1))


def inverse(spectrum, length):
    """Least-squares signal (c, t) of an STFT (c, n, f), frame by frame."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    count = spectrum.shape[1]
    total, weight = np.zeros((len(spectrum), (count - 1) * HOP + N_FFT)), np.zeros((count - 1) * HOP + N_FFT)
    for i in range(count):
        at = slice(i * HOP, i * HOP + N_FFT)
        total[:, at] += np.fft.irfft(spectrum[:, i]) * window
        weight[at] += window**2
    return (total / np.maximum(weight, 1e-12))[:, N_FFT // 2 : N_FFT // 2 + length]


def test_the_ideal_binary_mask_is_its_formula():
    targets = tones(1.0) | {"third": noise(3, 1.0, 0.1)}
    mixture = sum(targets.values())
    x = spectra(mixture)
    ours = ideal_binary_mask(mixture, targets)
    for name, stem in targets.items():
        mask = np.abs(spectra(stem)) > np.abs(x - spectra(stem))
        assert 0.05 < mask.mean() < 0.95
        found, expected = ours[name], inverse(mask * x, mixture.shape[1])
        # A bin that is as loud as the others may fall to either side in single precision.
        assert np.abs(found - expected).max() < 1e-3
        assert np.square(found - expected).mean() < 1e-9


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_wiener_filter_is_its_formula(channels):
    gains = np.random.default_rng(0).uniform(-1, 1, (3, channels, 1))
    sounds = [noise(seed, 0.6)[:1] for seed in range(3)]
    stems = [(gain * sound).astype(np.float32) for gain, sound in zip(gains, sounds, strict=True)]
    stems[2] = stems[2] + np.roll(stems[2], 7, axis=1)[::-1]  # more than one direction
    mixture = sum(stems)
    x, all_spectra = spectra(mixture), np.stack([spectra(stem) for stem in stems])
    powers = np.mean(np.abs(all_spectra) ** 2, axis=1)  # (s, n, f)
    r = np.einsum("sinf,sjnf->sfij", all_spectra, all_spectra.conj()) / powers.sum(1)[..., None, None]
    total = np.einsum("snf,sfij->nfij", powers, r)
    total += 1e-10 * np.mean(mixture.astype(float) ** 2) * N_FFT * np.eye(channels)
    whitened = np.linalg.solve(total, x.transpose(1, 2, 0)[..., None])[..., 0]
    ours = multichannel_wiener(mixture, dict(enumerate(stems)))
    for stem in range(3):
        expected = inverse(powers[stem] * np.einsum("fij,nfj->inf", r[stem], whitened), mixture.shape[1])
        np.testing.assert_allclose(ours[stem], expected, atol=1e-5)
    np.testing.assert_allclose(sum(ours.values()), mixture, atol=1e-5)


def test_the_wiener_filter_takes_stems_apart_that_lie_in_different_directions():
    left, right = noise(1, 1.0), noise(2, 1.0)
    left[1], right[0] = 0, 0
    mixture = left + right

    def left_sdr(method):
        estimate = REFERENCES[method](mixture, {"left": left, "right": right})["left"]
        return sdr(torch.from_numpy(left), torch.from_numpy(estimate)).item()

    assert left_sdr("mwf") > 60
    assert left_sdr("mixture") < 3
    diagonal = {"a": left[[0, 0]], "b": right[[1, 1]] * np.array([[1], [-1]], np.float32)}
    ours = multichannel_wiener(diagonal["a"] + diagonal["b"], diagonal)
    assert sdr(*(torch.from_numpy(each["a"]) for each in (diagonal, ours))).item() > 60


@pytest.mark.parametrize("name", ["irm", "ibm", "mwf"])
def test_references_of_blocks_equal_the_whole(monkeypatch, name):
    targets = tones(1.7)
    mixture = targets["low"] + targets["high"]
    whole = REFERENCES[name](mixture, targets)
    monkeypatch.setattr(references, "BLOCK", 4 * HOP)
    for stem, audio in REFERENCES[name](mixture, targets).items():
        assert np.square(audio - whole[stem]).mean() < 1e-10


def test_ideal_ratio_mask_beats_the_mixture_and_sums_to_it():
    targets = tones()
    mixture = targets["low"] + targets["high"]
    oracle, nothing = ideal_ratio_mask(mixture, targets), mixture_as_estimate(mixture, targets)
    for name, reference in targets.items():
        scores = [sdr(torch.from_numpy(reference), torch.from_numpy(e[name])).item() for e in (oracle, nothing)]
        assert scores[0] > scores[1] + 5
    np.testing.assert_allclose(sum(oracle.values()), mixture, atol=1e-5)


@pytest.mark.parametrize("name", ["irm", "ibm", "mwf"])
@pytest.mark.parametrize("length", [1, 511, 2048, 2049])
def test_references_of_short_and_silent_audio(name, length):
    targets = {"a": noise(1, 1)[:, :length], "b": np.zeros((2, length), np.float32)}
    stems = REFERENCES[name](targets["a"], targets)
    np.testing.assert_allclose(stems["a"], targets["a"], atol=1e-5)
    assert not stems["b"].any()
    assert not any(stem.any() for stem in REFERENCES[name](targets["b"], {"b": targets["b"]}).values())
