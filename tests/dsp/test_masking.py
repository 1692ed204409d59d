import pytest
import torch

from tfswa_unet.dsp import MASKS, Ratios, apply_mask
from tfswa_unet.errors import ConfigError

SCALE = torch.tensor([0.5, 2.0])[:, None, None, None]


def _stems(*arguments, **options):
    stems = apply_mask(*arguments, **options)
    return stems.spectrum() if isinstance(stems, Ratios) else stems


def _inputs(kind, scale=1.0):
    maps = scale * torch.randn(2, 4, 2, MASKS[kind].maps, 6, 9)
    return maps, torch.randn(2, 2, 6, 9, dtype=torch.complex64)


@pytest.mark.parametrize("kind", MASKS)
def test_stems_sum_to_the_mixture(kind):
    maps, mixture = _inputs(kind)
    stems = _stems(maps, mixture, SCALE, MASKS[kind], sums_to_mixture=True)
    assert stems.shape == (2, 4, 2, 6, 9)
    assert torch.allclose(stems.sum(1), mixture, atol=1e-5)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_magnitude_masks_stay_between_zero_and_one_and_keep_the_phase(kind):
    maps, mixture = _inputs(kind, scale=20.0)
    ratio = _stems(maps, mixture, SCALE, MASKS[kind], sums_to_mixture=False) / mixture[:, None]
    assert ratio.imag.abs().max() < 1e-5
    assert ratio.real.min() >= -1e-6
    assert ratio.real.max() <= 1 + 1e-5


def test_complex_mask_is_a_complex_product():
    maps, mixture = _inputs("complex")
    stems = _stems(maps, mixture, SCALE, MASKS["complex"], sums_to_mixture=False)
    real, imaginary = maps[:, :, :, 0] + 0.25, maps[:, :, :, 1]
    m = mixture[:, None]
    assert torch.allclose(stems.real, real * m.real - imaginary * m.imag, atol=1e-5)
    assert torch.allclose(stems.imag, real * m.imag + imaginary * m.real, atol=1e-5)


def test_direct_magnitudes_take_the_phase_of_the_mixture():
    maps, mixture = _inputs("magnitude")
    stems = _stems(maps, mixture, SCALE, MASKS["magnitude"], sums_to_mixture=False)
    expected = torch.polar(maps[:, :, :, 0].clamp_min(0) * SCALE[:, None], mixture[:, None].angle())
    assert torch.allclose(stems, expected, atol=1e-5)


def test_direct_spectra_are_the_maps():
    maps, mixture = _inputs("spectrum")
    stems = _stems(maps, mixture, SCALE, MASKS["spectrum"], sums_to_mixture=False)
    assert torch.allclose(stems[0].real, 0.5 * maps[0, :, :, 0])
    assert torch.allclose(stems[1].imag, 2.0 * maps[1, :, :, 1])


@pytest.mark.parametrize("kind", MASKS)
def test_silence_stays_silence(kind):
    maps, mixture = _inputs(kind)
    assert not _stems(maps, torch.zeros_like(mixture), SCALE, MASKS[kind], sums_to_mixture=True).abs().any()


def test_unknown_mask():
    with pytest.raises(ConfigError, match=r"unknown model\.mask 'tanh': expected one of sigmoid, softmax, complex"):
        MASKS["tanh"]


@pytest.mark.parametrize("kind", ["magnitude", "spectrum"])
def test_each_frame_may_have_a_scale_of_its_own(kind):
    maps, mixture = _inputs(kind)
    mixture[:, :, 3] = 0
    scale = torch.rand(2, 1, 6, 1) + 0.5
    stems = _stems(maps, mixture, scale, MASKS[kind], sums_to_mixture=False)
    plain = _stems(maps, mixture, torch.ones(2, 1, 1, 1), MASKS[kind], sums_to_mixture=False)
    expected = plain * scale[:, None]
    expected[:, :, :, 3] = 0  # where the mixture is silent
    assert torch.allclose(stems, expected, atol=1e-5)
