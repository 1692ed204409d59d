import pytest
import torch

from tfswa_unet.dsp import stft
from tfswa_unet.losses.piecewise import piecewise


def _distance(ours, theirs):
    return (stft(ours, 32, 8).abs().square() - stft(theirs, 32, 8).abs().square()).square().mean()


@pytest.mark.parametrize("cached", [1, 500, 2**16])
def test_value_and_gradient_are_those_of_all_at_once(cached, monkeypatch):
    monkeypatch.setattr("tfswa_unet.dsp.cached.CACHED", cached)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    estimate, target = torch.randn(2, 7, 3, 5, 100, dtype=torch.float64)
    estimate.requires_grad_()
    seen = []

    def distance(ours, theirs):
        seen.append(len(ours))
        return _distance(ours, theirs)

    value = piecewise(distance, estimate, target)
    assert (sum(seen), max(seen)) == (105, min(105, max(1, cached // 100)))
    expected = _distance(estimate, target)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(3 * x, estimate)[0] for x in (value, expected)]
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-12)


def test_no_gradient_is_computed_where_none_is_asked_for():
    def distance(ours, theirs):
        assert not torch.is_grad_enabled()
        return _distance(ours, theirs)

    signals = torch.randn(2, 3, 100)
    with torch.no_grad():
        assert piecewise(distance, *signals) == pytest.approx(_distance(*signals).item(), rel=1e-5)
    assert not piecewise(distance, *signals).requires_grad
