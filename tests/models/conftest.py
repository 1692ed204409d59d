"""One thread, which is faster for networks as small as these; and a model as training leaves it."""

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def awake(model):
    """The same model with branches and a head that speak up, as training leaves them."""
    torch.manual_seed(0)
    for module in model.network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    nn.init.normal_(model.network.head.project.weight, std=1.0)
    return model
