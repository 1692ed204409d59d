from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from tfswa_unet import audio, bundles, models
from tfswa_unet.bundle import save_bundle


def small_config():
    config = models.preset("tfswa_tiny")
    network = {"widths": [16, 16], "depths": [1, 1], "mlp_ratios": [1.0, 1.0], "head_width": 8}
    return {**config, "name": "small", "network": {**config["network"], **network}}


@pytest.fixture(scope="session")
def small():
    """A model that runs in milliseconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return models.build(small_config()).eval()


@pytest.fixture(scope="session")
def bundle(small, tmp_path_factory):
    """Its bundle."""
    return save_bundle(tmp_path_factory.mktemp("bundle") / "small.safetensors", small, {"epoch": 3})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of that of the models which come with the package."""
    monkeypatch.setattr(bundles, "FOLDER", tmp_path / "bundles")
    bundles.FOLDER.mkdir()
    return bundles.FOLDER


@pytest.fixture
def default(bundle, folder):
    """The small model as the one that comes with the package."""
    return shutil.copy(bundle, folder / f"{bundles.DEFAULT_MODEL}.safetensors")


@pytest.fixture
def checkpoint(small, tmp_path):
    """Its Lightning checkpoint."""
    path = tmp_path / "last.ckpt"
    state = {f"model.{name}": value for name, value in small.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"model": small_config()}, "epoch": 5}, path)
    return path


@pytest.fixture
def song(tmp_path):
    """Two seconds of noise in a file."""
    path = tmp_path / "song.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 2 * 44100 + 1))
    audio.write(path, noise.astype(np.float32), 44100)
    return path
