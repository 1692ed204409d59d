import pytest
import torch
from torch import nn

from tfswa_unet.bench.measures import count_flops, flops_per_second
from tfswa_unet.nn import attend


def test_flops_are_those_of_the_closed_form():
    class Filter(nn.Module):
        rate, channels = 8000, 2

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 6, 5, padding=2)

        def forward(self, mixture):
            return self.conv(mixture).unflatten(1, (3, 2))

    assert flops_per_second(Filter()) == 2 * 8000 * 2 * 6 * 5


@pytest.mark.parametrize("tokens", [16, 256])  # plain products, and the fused kernel
def test_attention_counts_whichever_kernel_computes_it(tokens):
    q, k, v = torch.randn(3, 2, 3, tokens, 8)
    assert count_flops(lambda: attend(q, k, v)) == 2 * 2 * (2 * 3) * tokens * tokens * 8
