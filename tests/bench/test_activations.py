import pytest
import torch

from tfswa_unet import models
from tfswa_unet.bench.measures import peak_bytes

CPU = torch.device("cpu")


def test_the_most_at_once_is_the_closed_form():
    def work():
        first = torch.empty(1_000_000, dtype=torch.uint8)
        second = torch.empty(500_000, dtype=torch.uint8)
        del first
        return second, torch.empty(250_000, dtype=torch.uint8)

    assert peak_bytes(work, CPU) == 1_500_000


def test_what_a_backward_pass_needs_is_counted():
    x = torch.ones(1_000, requires_grad=True)
    # Each exp keeps its result, and a gradient of that size comes back; the sum's is one number, spread out.
    assert peak_bytes(lambda: x.exp().exp().sum().backward(), CPU) == pytest.approx(3 * 4_000, abs=100)


@pytest.mark.slow
def test_checkpointing_of_tfswa_base_at_six_seconds_saves_two_fifths_and_keeps_the_gradients():
    torch.manual_seed(0)
    model = models.build(models.preset("tfswa_base"))
    mixture = torch.randn(1, 2, 6 * 44_100)

    def there_and_back():
        model(mixture).abs().mean().backward()

    there_and_back()  # the parameters' gradients stay
    most, gradients = {}, {}
    for checkpointing in (False, True):
        model.network.checkpointing = checkpointing
        model.zero_grad(set_to_none=False)
        most[checkpointing] = peak_bytes(there_and_back, CPU)
        gradients[checkpointing] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert most[True] < 0.6 * most[False]
    largest = gradients[False].abs().max()
    assert largest > 0
    assert (gradients[True] - gradients[False]).abs().max() < 1e-5 * largest
