from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import istft, stft

from tests.evaluation.conftest import noise
from tfswa_unet.evaluation import tracks
from tfswa_unet.evaluation.metrics import sdr
from tfswa_unet.evaluation.tracks import ideal_ratio_mask, mixture_as_estimate


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


def test_ideal_ratio_mask_of_blocks_equals_the_whole(monkeypatch):
    targets = tones(1.7)
    mixture = targets["low"] + targets["high"]
    whole = ideal_ratio_mask(mixture, targets)
    monkeypatch.setattr(tracks, "BLOCK", 4 * tracks.HOP)
    for name, audio in ideal_ratio_mask(mixture, targets).items():
        np.testing.assert_allclose(audio, whole[name], atol=1e-6)


def test_ideal_ratio_mask_beats_the_mixture_and_sums_to_it():
    targets = tones()
    mixture = targets["low"] + targets["high"]
    oracle, nothing = ideal_ratio_mask(mixture, targets), mixture_as_estimate(mixture, targets)
    for name, reference in targets.items():
        scores = [sdr(torch.from_numpy(reference), torch.from_numpy(e[name])).item() for e in (oracle, nothing)]
        assert scores[0] > scores[1] + 5
    np.testing.assert_allclose(sum(oracle.values()), mixture, atol=1e-5)


@pytest.mark.parametrize("length", [1, 511, 2048, 2049])
def test_ideal_ratio_mask_of_short_and_silent_audio(length):
    targets = {"a": noise(1, 1)[:, :length], "b": np.zeros((2, length), np.float32)}
    stems = ideal_ratio_mask(targets["a"], targets)
    np.testing.assert_allclose(stems["a"], targets["a"], atol=1e-5)
    assert not stems["b"].any()
