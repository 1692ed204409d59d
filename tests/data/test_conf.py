from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tfswa_unet.config import from_values
from tfswa_unet.data import Mixing, StemPlan
from tfswa_unet.data.augmentation import build_augmentation
from tfswa_unet.data.collection import DataSet
from tfswa_unet.data.segments import samples
from tfswa_unet.data.sets.layouts import LAYOUTS
from tfswa_unet.data.tracks import KINDS

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(overrides=list(overrides))


NAMES = ["musdb18", "musdb18hq", "dsd100", "medleydb", "moisesdb", "folders", "manifest", "mixture", "synthetic"]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_configuration_is_complete_and_accepted(name):
    data = OmegaConf.to_container(composed(f"+data={name}").data, throw_on_missing=True)
    assert data["kind"] in (*KINDS, "mixture")
    assert data["kind"] == ("musdb18hq" if name == "synthetic" else name)
    assert not Path(data["root"]).is_absolute()
    assert samples(data["seconds"], 44_100) > 0
    assert data["samples_per_epoch"] >= 1
    assert isinstance(Mixing.from_config(data["mixing"]), Mixing)
    if data["kind"] in LAYOUTS:
        assert set(data.get("options", {})) == set(LAYOUTS[data["kind"]].options)
    assert all(from_values(DataSet, each, "data.mixture").kind in KINDS for each in data.get("mixture", []))
    assert set(data.get("make", {})) == ({"tracks", "seconds", "seed"} if name == "synthetic" else set())


@pytest.mark.parametrize(("name", "count"), [("none", 0), ("default", 3), ("strong", 15)])
def test_an_augmentation_configuration_builds(name, count):
    config = composed(f"+augmentation={name}").augmentation
    assert len(build_augmentation(config)) == count
    assert len(build_augmentation(OmegaConf.to_container(config))) == count


def test_one_augmentation_is_left_out_by_null():
    config = composed("+augmentation=default", "augmentation.gain=null").augmentation
    assert len(build_augmentation(config)) == 2


def test_a_composed_mapping_is_a_stem_plan():
    config = composed("+stems.vocals=[vocals]", "+stems.accompaniment=rest").stems
    assert StemPlan.from_config(config).resolve(["vocals", "drums"]) == {
        "vocals": ("vocals",),
        "accompaniment": ("drums",),
    }
