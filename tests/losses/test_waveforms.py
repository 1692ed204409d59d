import pytest
import torch
import torch.nn.functional as F

from tfswa_unet.losses.distances import waveform_distance


def _waveforms():
    torch.manual_seed(0)
    estimate, target = torch.randn(2, 2, 3, 2, 500, dtype=torch.float64)
    estimate[0, 0, 0, :50] = target[0, 0, 0, :50]  # where the distance has a corner
    return estimate.requires_grad_(), target


@pytest.mark.parametrize("at_once", [1, 700, 2**19])
def test_value_and_gradient_equal_torchs(at_once, monkeypatch):
    monkeypatch.setattr("tfswa_unet.dsp.fourier.CACHED", at_once)
    estimate, target = _waveforms()
    values = [distance(estimate, target) for distance in (waveform_distance, F.l1_loss)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-12)
    gradients = [torch.autograd.grad(3 * value, estimate)[0] for value in values]
    assert torch.allclose(*gradients, rtol=1e-12, atol=0)


def test_float32_is_close_to_float64():
    estimate, target = (x.detach() for x in _waveforms())
    rounded = waveform_distance(estimate.float(), target.float())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(waveform_distance(estimate, target).item(), rel=1e-6)
