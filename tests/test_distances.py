import pytest
import torch
import torch.nn.functional as F

from tfswa_unet import losses
from tfswa_unet.losses import magnitude_distance, waveform_distance


def _spectra(dtype=torch.complex128):
    torch.manual_seed(0)
    return torch.randn(2, 3, 2, 5, 9, dtype=dtype, requires_grad=True), torch.randn(2, 3, 2, 5, 9, dtype=dtype)


def _by_autograd(estimate, target, linear, logarithmic, floor):
    ours, theirs = ((x.real**2 + x.imag**2 + losses.TINY).sqrt() for x in (estimate, target))
    logs = ((ours + floor).log() - (theirs + floor).log()).abs().mean()
    return linear * (ours - theirs).abs().mean() + logarithmic * logs


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.1), (0.0, 1.0, 0.1), (0.3, 2.0, 1e-3)])
@pytest.mark.parametrize("at_once", [1, 100, 2**19])
def test_magnitudes_value_and_gradient_equal_autograds(weights, at_once, monkeypatch):
    monkeypatch.setattr("tfswa_unet.dsp.spectrogram.CACHED", at_once)
    estimate, target = _spectra()
    value = magnitude_distance(estimate, target, *weights)
    (gradient,) = torch.autograd.grad(3 * value, estimate)
    expected = _by_autograd(estimate, target, *weights)
    (expected_gradient,) = torch.autograd.grad(3 * expected, estimate)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


def test_magnitudes_gradient_by_finite_differences():
    estimate, target = (x[:1, :1].detach().requires_grad_() for x in _spectra())
    assert torch.autograd.gradcheck(lambda x: magnitude_distance(x, target.detach(), 1.0, 0.5, 0.1), estimate)


def test_magnitudes_in_float32_are_close_to_float64():
    estimate, target = _spectra()
    exact = magnitude_distance(estimate, target, 1.0, 1.0, 0.01)
    rounded = magnitude_distance(estimate.to(torch.complex64), target.to(torch.complex64), 1.0, 1.0, 0.01)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-6)


def test_magnitudes_of_silence_on_both_sides_is_no_distance():
    silence = torch.zeros(1, 4, 5, dtype=torch.complex64, requires_grad=True)
    value = magnitude_distance(silence, torch.zeros(1, 4, 5, dtype=torch.complex64), 1.0, 1.0, 0.1)
    value.backward()
    assert value.item() == 0
    assert not silence.grad.abs().any()


def _waveforms():
    torch.manual_seed(0)
    estimate, target = torch.randn(2, 2, 3, 2, 500, dtype=torch.float64)
    estimate[0, 0, 0, :50] = target[0, 0, 0, :50]  # where the distance has a corner
    return estimate.requires_grad_(), target


@pytest.mark.parametrize("at_once", [1, 700, 2**19])
def test_waveforms_value_and_gradient_equal_torchs(at_once, monkeypatch):
    monkeypatch.setattr("tfswa_unet.dsp.spectrogram.CACHED", at_once)
    estimate, target = _waveforms()
    values = [distance(estimate, target) for distance in (waveform_distance, F.l1_loss)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-12)
    gradients = [torch.autograd.grad(3 * value, estimate)[0] for value in values]
    assert torch.allclose(*gradients, rtol=1e-12, atol=0)


def test_waveforms_in_float32_are_close_to_float64():
    estimate, target = (x.detach() for x in _waveforms())
    rounded = waveform_distance(estimate.float(), target.float())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(waveform_distance(estimate, target).item(), rel=1e-6)
