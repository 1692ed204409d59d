"""The auditory filterbank."""

import numpy as np
import pytest
import torch

from tfswa_unet.dsp import auditory_bands, stft

RATE, N_FFT, BANDS = 16000, 1024, 30


def centres():
    """Hz, by the inverse of the ERB-number scale of Glasberg and Moore."""
    numbers = np.linspace(*(21.4 * np.log10(1 + 0.00437 * f) for f in (30, RATE / 2)), BANDS)
    return (10 ** (numbers / 21.4) - 1) / 0.00437


def test_bands_are_sums_of_power_under_gammatone_responses():
    spectrum = stft(torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4000))), N_FFT, 256)
    f = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    expected = np.stack(
        [
            (np.abs(spectrum.numpy()) ** 2 / (1.5 * (N_FFT / 4) ** 2) / (1 + ((f - c) / b) ** 2) ** 4).sum(-1)
            for c, b in ((c, 1.019 * (24.7 + 0.10793900 * c)) for c in centres())
        ],
        axis=-1,
    )
    assert auditory_bands(spectrum, RATE, BANDS).numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("band", [8, 15, 25])
def test_a_full_scale_sine_is_about_one_in_its_band_and_less_elsewhere(band):
    sine = torch.sin(torch.arange(RATE, dtype=torch.float64) / RATE * 2 * np.pi * centres()[band])
    heard = auditory_bands(stft(sine[None], N_FFT, 256), RATE, BANDS)[0, 10]
    assert heard.argmax() == band
    assert heard[band] == pytest.approx(1, abs=0.25)
    assert heard[band + 4] < 0.05
