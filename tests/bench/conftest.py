from __future__ import annotations

import pytest
import torch

from tests.cli.conftest import small_config
from tfswa_unet import models
from tfswa_unet.bench.subject import Subject
from tfswa_unet.bundle import save_bundle
from tfswa_unet.training.module import SeparationModule


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A small model's bundle."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle") / "small.safetensors"
    return str(save_bundle(path, models.build(small_config()).eval(), {}))


@pytest.fixture
def module():
    """A small model in training, without augmentation."""
    return SeparationModule(small_config(), {"waveform_l1": {}}, {"name": "adam", "lr": 1e-3}, {"name": "constant"}, {})


@pytest.fixture
def subject(module):
    """It, on the CPU in fp32."""
    return Subject("small", module.model, torch.device("cpu"), "fp32")
