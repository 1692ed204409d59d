import pytest
import torch
from torch import nn

from benchmarks import networks
from tests.small import NETWORK, write_songs

ARGUMENTS = [
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
        ways = {
            "silence": lambda mixture: 1e-3 * self(mixture[None])[0],
            "itself": lambda mixture: self(mixture[None])[0],
        }
        return self._by_package(ways, precision)


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
