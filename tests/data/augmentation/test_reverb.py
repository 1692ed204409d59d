from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.data.augmentation.conftest import strong
from tfswa_unet.errors import ConfigError

RATE = 16_000


def rooms(generator, count: int = 6, **settings: float) -> torch.Tensor:
    """Impulse responses (count, c, t): what becomes of a click."""
    clicks = torch.zeros(count, 1, 2, 2 * RATE)
    clicks[..., 0] = 1
    return strong("reverb", p=1.0, rate=RATE, generator=generator, **settings).train()(clicks)[:, 0]


@pytest.mark.parametrize("rt60", [0.3, 1.0])
def test_the_echo_decays_in_its_time(generator, rt60):
    """Schroeder's backward integration (doi:10.1121/1.1909343), fitted from −5 to −35 dB."""
    echo = rooms(generator, rt60_low=rt60, rt60_high=rt60)[..., 1:].double().numpy()
    energy = np.cumsum(echo[..., ::-1] ** 2, -1)[..., ::-1].reshape(12, -1)
    for curve in energy:
        decay = 10 * np.log10(curve / curve[0] + 1e-12)
        span = np.flatnonzero((decay < -5) & (decay > -35))
        slope = np.polyfit(span / RATE, decay[span], 1)[0]
        assert -60 / slope == pytest.approx(rt60, rel=0.1)


def test_the_dry_stem_stays_in_place_before_the_first_echo(generator):
    room = rooms(generator)
    assert torch.allclose(room[..., 0], torch.ones(6, 2), atol=1e-5)
    assert room[..., 1 : RATE // 100].abs().max() < 1e-6
    assert (room[..., RATE // 100 : RATE // 100 + 200].abs().amax(-1) > 1e-3).all()


def test_the_echo_of_noise_is_as_loud_as_asked(generator):
    noise = torch.randn(4, 1, 2, 4 * RATE, generator=generator)
    augmentation = strong("reverb", p=1.0, rt60_high=0.4, wet_low=-12, wet_high=-12, rate=RATE, generator=generator)
    wet = (augmentation.train()(noise) - noise)[..., RATE:]
    level = 10 * torch.log10(wet.square().mean((-2, -1)) / noise.square().mean((-2, -1)))
    assert (level + 12).abs().max() < 0.5


def test_channels_and_stems_have_echoes_of_their_own(generator):
    echoes = rooms(generator, count=4)[..., RATE // 100 :].flatten(0, 1)
    likeness = torch.corrcoef(echoes) - torch.eye(8)
    assert likeness.abs().max() < 0.2


def test_it_equals_convolution_with_its_rooms(stems):
    augmentation = strong("reverb", p=1.0, rate=8_000, generator=torch.Generator().manual_seed(2)).train()
    result = augmentation(stems[:1])
    augmentation.generator.manual_seed(2)
    augmentation.chosen(3)
    echoes = augmentation._rooms(3, 2, 8_000)
    for stem in range(3):
        for channel in range(2):
            wet = np.convolve(stems[0, stem, channel], echoes[stem, channel])[:8_000]
            np.testing.assert_allclose(result[0, stem, channel], stems[0, stem, channel] + wet, atol=1e-4)


def test_numbers_out_of_order_are_refused():
    with pytest.raises(ConfigError, match=r"rt60_high of augmentation Reverb is 1\.2, .* from 2 to 20"):
        strong("reverb", rt60_low=2)
    with pytest.raises(ConfigError, match=r"wet_low of augmentation Reverb is -200, "):
        strong("reverb", wet_low=-200)
