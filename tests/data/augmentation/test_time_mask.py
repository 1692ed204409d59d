from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.dsp import istft, stft
from tfswa_unet.errors import ConfigError

N_FFT, HOP = 256, 64


def test_it_equals_zeroing_one_span_of_frames_of_all_stems(stems, generator):
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


def test_the_mixture_is_masked_as_its_stems_are(stems):
    torch.manual_seed(2)
    apart = strong("time_mask", p=1.0).train()(stems).sum(1)
    torch.manual_seed(2)
    mixed = strong("time_mask", p=1.0).train()(stems.sum(1, keepdim=True))[:, 0]
    torch.testing.assert_close(apart, mixed, atol=1e-6, rtol=0)


def test_no_frames_are_refused():
    with pytest.raises(ConfigError, match="frames of augmentation TimeMask is 0, expected a number from 1"):
        strong("time_mask", frames=0)
