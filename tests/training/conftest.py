from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.small import OVERRIDES, write_songs

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "model=tfswa_tiny",
    "augmentation=none",
    "loss=fast",
    *OVERRIDES,
    "callbacks.samples.every_n_epochs=null",
    "logger=csv",
]


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="session")
def make_config(songs):
    """Compose a small training configuration with overrides, as plain values."""

    def values(*overrides, small=True):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose(
                "train", [*(SMALL if small else []), f"data.root={songs}", f"paths.cache={songs}-cache", *overrides]
            )
        plain = OmegaConf.to_container(composed, resolve=True)
        plain.pop("experiment", None)
        return plain

    return values


@pytest.fixture
def config(make_config):
    return make_config
