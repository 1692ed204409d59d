from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.dsp import istft, stft

N_FFT, HOP = 256, 64


def loss_db(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Level lost in each DFT bin of the whole segment's middle, (…, f), averaged over 16 neighbours."""
    levels = []
    for x in (before, after):
        power = torch.fft.rfft(x[..., 2_000:-2_000] * torch.hann_window(x.shape[-1] - 4_000)).abs().square()
        levels.append(power[..., : power.shape[-1] // 16 * 16].unflatten(-1, (-1, 16)).mean(-1))
    return 10 * torch.log10(levels[0] / (levels[1] + 1e-12))


def test_one_band_vanishes_from_all_stems_of_an_example_and_the_rest_stays(generator):
    stems = torch.randn(3, 2, 2, 32_000, generator=generator)
    augmentation = strong("frequency_mask", p=1.0, bins=80, n_fft=1024, hop=256, generator=generator)
    lost = loss_db(stems, augmentation.train()(stems))
    gone = lost > 20
    for example in gone:
        assert (example == example[0, 0]).float().mean() > 0.99
        band = example[0, 0].nonzero().flatten()
        assert len(band) == 0 or band.max() - band.min() + 1 == len(band)
    assert gone.flatten(1).any(1).sum() >= 2
    assert lost[~gone & ~gone.roll(1, -1) & ~gone.roll(-1, -1)].median().abs() < 0.1
    assert len({tuple(example[0, 0].tolist()) for example in gone}) > 1


def test_a_frequency_mask_equals_zeroing_at_most_that_many_neighbouring_bins(generator):
    stems = torch.randn(6, 1, 1, 2_000, generator=generator)
    result = strong("frequency_mask", p=1.0, bins=4, n_fft=128, hop=32, generator=generator).train()(stems)
    bands = [(first, width) for width in range(1, 5) for first in range(66 - width)]
    keep = torch.ones(len(bands), 65)
    for row, (first, width) in zip(keep, bands, strict=True):
        row[first : first + width] = 0
    window = torch.hann_window(128)
    for before, after in zip(stems[:, 0, 0], result[:, 0, 0], strict=True):
        spectrum = torch.stft(before, 128, 32, window=window, pad_mode="constant", return_complex=True)
        masked = torch.istft(spectrum * keep[..., None], 128, 32, window=window, length=2_000)
        assert (masked - after).abs().amax(-1).min() < 1e-5


def test_a_time_mask_equals_zeroing_one_span_of_frames_of_all_stems(stems, generator):
    result = strong("time_mask", p=1.0, frames=40, n_fft=N_FFT, hop=HOP, generator=generator).train()(stems)
    spectrum = stft(stems, N_FFT, HOP)
    for example, changed in enumerate(result):
        silent = (changed == 0).all(0).all(0).nonzero().flatten()
        touched = ((changed - stems[example]).abs() > 1e-6).any(0).any(0).nonzero().flatten()
        # A frame reaches half a window to both sides of its centre.
        first = -(-(int(touched[0]) - 1) // HOP) + N_FFT // HOP // 2 - 1
        candidates = [
            (start, stop)
            for start in range(max(first - 2, 0), first + 3)
            for stop in range(start + 1, min(start + 41, spectrum.shape[-2] + 1))
        ]
        errors = {}
        for start, stop in candidates:
            keep = torch.ones(spectrum.shape[-2], 1)
            keep[start:stop] = 0
            expected = istft(spectrum[example] * keep, N_FFT, HOP, stems.shape[-1])
            errors[start, stop] = (expected - changed).abs().max().item()
        assert min(errors.values()) < 1e-5
        start, stop = min(errors, key=errors.get)
        assert len(silent) >= (stop - start - N_FFT // HOP) * HOP


def test_outside_the_span_every_sample_stays(generator):
    stems = torch.ones(8, 1, 1, 20_000)
    result = strong("time_mask", p=1.0, frames=10, n_fft=N_FFT, hop=HOP, generator=generator).train()(stems)
    touched = (result - 1).abs() > 1e-5
    assert (touched.sum(-1) <= 10 * HOP + N_FFT).all()
    assert (touched.sum(-1) >= HOP).all()
    assert result.min() > -1e-5
    assert result.max() < 1 + 1e-5


@pytest.mark.parametrize("name", ["frequency_mask", "time_mask"])
def test_the_mixture_is_masked_as_its_stems_are(name, stems):
    torch.manual_seed(2)
    apart = strong(name, p=1.0).train()(stems).sum(1)
    torch.manual_seed(2)
    mixed = strong(name, p=1.0).train()(stems.sum(1, keepdim=True))[:, 0]
    torch.testing.assert_close(apart, mixed, atol=1e-6, rtol=0)
