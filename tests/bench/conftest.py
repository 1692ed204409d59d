from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.cli.conftest import small_config
from tests.small import NETWORK, write_songs
from tfswa_unet import models
from tfswa_unet.bench import networks
from tfswa_unet.bench.subject import Subject
from tfswa_unet.bundle import save_bundle
from tfswa_unet.training.module import SeparationModule

TRIAL = [
    *("--minutes", "0.01", "--batch", "2", "--segment", "0.2"),
    *("--songs", "2", "--test-songs", "1", "--song-seconds", "1.5"),
    *("--workers", "0", "--threads", "1", "--device", "cpu"),
]


class Halves(networks.Peer):
    """A peer without a package: learns one number a stem, and notes what mixtures it was prepared with."""

    def __init__(self, stems):
        super().__init__(stems, nn.Linear(1, len(stems), bias=False))
        self.prepared = []

    def forward(self, mixture):
        return self.network(mixture[..., None]).movedim(-1, 1)

    def prepare(self, mixtures):
        self.prepared += [tuple(mixture.shape) for mixture in mixtures]

    def ways(self, precision="fp32"):
        gains = {"silence": 1e-3, "itself": 1.0}
        return {
            name: self.by_package(lambda mixture, gain=gain: gain * self(mixture[None])[0], precision)
            for name, gain in gains.items()
        }


@pytest.fixture
def halves():
    torch.manual_seed(0)
    return Halves(("vocals", "drums", "bass", "other"))


@pytest.fixture
def fake_peers(monkeypatch):
    """The peers' names with networks that need no package."""
    for kind in (networks.PUBLISHED, networks.SMALL):
        for name in list(kind):
            monkeypatch.setitem(kind, name, Halves)


@pytest.fixture
def small_presets(monkeypatch):
    """Every preset with the sizes of tests."""
    from omegaconf import OmegaConf

    from tfswa_unet import models

    small = OmegaConf.from_dotlist([*NETWORK, "network.head_width=8"])
    whole = models.preset

    def preset(name, stems):
        return OmegaConf.to_container(OmegaConf.merge(whole(name, stems), small))

    monkeypatch.setattr(models, "preset", preset)


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"), samples=132_300)


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
    return SeparationModule(
        small_config(), {"waveform_l1": {"weight": 1.0}}, {"name": "adam", "lr": 1e-3}, {"name": "constant"}, {}
    )


@pytest.fixture
def subject(module):
    """It, on the CPU in fp32."""
    return Subject("small", module.model, torch.device("cpu"), "fp32")
