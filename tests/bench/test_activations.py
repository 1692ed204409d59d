import torch
from torch import nn

from tfswa_unet.bench.activations import saved_bytes


def test_what_a_small_network_keeps_is_the_closed_form():
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.randn(32, 8)
    # The first layer keeps its input; the rectifier and the second layer keep one and the same tensor.
    assert saved_bytes(lambda: network(x), network) == 4 * (32 * 8 + 32 * 16)


def test_checkpointing_keeps_less(module):
    mixture = torch.randn(1, 2, 20_000)

    def kept(checkpointing):
        module.model.network.checkpointing = checkpointing
        return saved_bytes(lambda: module.model.spectra(mixture), module)

    plain = kept(False)
    assert 0 < kept(True) < 0.8 * plain
    assert kept(False) == plain
