from __future__ import annotations

import math

import pytest
import scipy.integrate
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError


def test_it_is_tanh_at_the_level_there_was(stems, generator):
    """At a given drive every stem is proportional to tanh(drive · x / peak)."""
    result = strong("distortion", p=1.0, low=12, high=12, generator=generator).train()(stems)
    for before, after in zip(stems.flatten(0, 1), result.flatten(0, 1), strict=True):
        bent = torch.tanh(10 ** (12 / 20) * before / before.abs().max())
        torch.testing.assert_close(after, bent * (before.std() / bent.std()), rtol=1e-3, atol=1e-5)
        assert after.square().mean().item() == pytest.approx(before.square().mean().item(), rel=1e-4)


def test_a_sine_gets_the_odd_harmonics_that_fourier_says():
    t = torch.arange(8_000) / 8_000
    sine = 0.3 * torch.sin(2 * math.pi * 100 * t).view(1, 1, 1, -1)
    result = strong("distortion", p=1.0, low=10, high=10).train()(sine)
    lines = torch.fft.rfft(result.flatten()).abs()
    drive = 10 ** (10 / 20)
    parts = [
        scipy.integrate.quad(lambda x, k=k: math.tanh(drive * math.sin(x)) * math.sin(k * x), 0, math.pi)[0]
        for k in (1, 3, 5)
    ]
    for k, part in zip((3, 5), parts[1:], strict=True):
        assert (lines[100 * k] / lines[100]).item() == pytest.approx(abs(part / parts[0]), rel=1e-3)
    assert lines[[200, 400, 600]].max() < 1e-5 * lines[100]


def test_the_drive_is_drawn_for_each_stem(generator):
    square = torch.linspace(-1, 1, 1_000).expand(200, 1, 1, -1).contiguous()
    result = strong("distortion", p=1.0, low=0, high=20, generator=generator).train()(square)
    crest = result.amax((1, 2, 3)) / result.square().mean((1, 2, 3)).sqrt()
    assert crest.unique().numel() > 150
    assert crest.min() > 1.0
    assert crest.max() < math.sqrt(3)


def test_high_below_low_is_refused():
    with pytest.raises(ConfigError, match=r"high of augmentation Distortion is 3, .* from 5 to 60"):
        strong("distortion", low=5, high=3)
