"""The cache that training builds when it first sees a data set."""

from __future__ import annotations

import pytest

from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.training.builder import TrainConfig, make_data


def made_with(config, folder, limit):
    values = config(f"data.cache={folder}", f"data.cache_max_gb={limit}")
    return make_data(from_values(TrainConfig, values, "config")).ready()


def test_it_is_kept_to_its_limit(config, tmp_path):
    with pytest.raises(ConfigError, match=r"over the 0\.001 GB that it may hold \(--max-gb, or data\.cache_max_gb\)"):
        made_with(config, tmp_path / "cache", 0.001)
    assert not list((tmp_path / "cache").glob("*.tfpcm"))
    made_with(config, tmp_path / "cache", 0.002)
    assert 0.001e9 < sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.tfpcm")) <= 0.002e9
