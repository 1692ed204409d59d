from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tfswa_unet.config import choices, converted, from_values
from tfswa_unet.data import Mixing, StemPlan, data_sets
from tfswa_unet.data.augmentation import build_augmentation
from tfswa_unet.data.sets.layouts import DATA_SETS
from tfswa_unet.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(overrides=list(overrides))


NAMES = [
    "musdb18",
    "musdb18hq",
    "dsd100",
    "medleydb",
    "moisesdb",
    "folders",
    "unlabelled",
    "manifest",
    "mixture",
    "synthetic",
    "rendered",
]
GIVEN = {"rendered": ["data.sets.rendered.render.samples=samples"]}  # what a choice cannot be without


@pytest.mark.parametrize("name", NAMES)
def test_a_data_configuration_is_complete_and_accepted(name):
    data = OmegaConf.to_container(composed(f"+data={name}", *GIVEN.get(name, ())).data, throw_on_missing=True)
    sets = data_sets(data)
    assert list(sets) == (["musdb18hq", "moisesdb"] if name == "mixture" else [name])
    for own, each in sets.items():
        assert each.kind == ("musdb18hq" if name in ("synthetic", "rendered") else own)
        assert not Path(each.root).is_absolute()
        assert set(each.options) == set(DATA_SETS.options(each.kind))
        assert (each.make is None) == (name != "synthetic")
        assert (each.render is None) == (name != "rendered")
    assert data["seconds"] > 0
    assert data["samples_per_epoch"] >= 1
    assert from_values(Mixing, data["mixing"], "data.mixing").mode == "random"


def test_what_others_build_on_is_no_choice():
    assert choices("data") == sorted(NAMES)


def test_several_choices_are_several_sets_and_the_last_says_how_they_are_loaded():
    sets = composed("+data=[synthetic,moisesdb]").data
    assert list(sets.sets) == ["synthetic", "moisesdb"]
    assert sets.samples_per_epoch == composed("+data=moisesdb").data.samples_per_epoch
    other = composed("+data=[moisesdb,synthetic]").data
    assert list(other.sets) == ["moisesdb", "synthetic"]
    assert other.samples_per_epoch == composed("+data=synthetic").data.samples_per_epoch


def test_mappings_are_converted_by_what_they_hold():
    assert converted({"a": 1}, dict[str, float], "x") == {"a": 1.0}
    assert converted({"a": [1]}, dict[str, Any], "x") == {"a": [1]}
    with pytest.raises(ConfigError, match=r"x\.a is 'b', expected a number"):
        converted({"a": "b"}, Mapping[str, float], "x")
    with pytest.raises(ConfigError, match=r"x is \[1\], expected a mapping"):
        converted([1], Mapping[str, float], "x")


@pytest.mark.parametrize(("name", "count"), [("none", 0), ("default", 3), ("strong", 16)])
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
