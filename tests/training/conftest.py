import copy
import functools

import pytest

from tests.small import OVERRIDES, write_samples, write_songs
from tfswa_unet.config import compose_values

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
def samples(tmp_path_factory):
    """Where recordings lie, as an override of data=rendered."""
    return f"data.sets.rendered.render.samples={write_samples(tmp_path_factory.mktemp('samples'))}"


@pytest.fixture(scope="session")
def make_config(songs):
    """Compose a small training configuration with overrides, as plain values."""

    places = (f"data.root={songs}", f"paths.cache={songs}-cache")
    composed = functools.cache(lambda *overrides: compose_values("train", overrides))

    def values(*overrides, small=True):
        return copy.deepcopy(composed(*(SMALL if small else []), *places, *overrides))

    return values


@pytest.fixture
def config(make_config):
    return make_config
