from __future__ import annotations

import pytest

from tfswa_unet.data.stems import StemPlan
from tfswa_unet.errors import ConfigError

FOUR = ("vocals", "drums", "bass", "other")


def test_rest_is_everything_no_other_entry_names():
    plan = StemPlan.from_config({"vocals": ["vocals"], "accompaniment": "rest"})
    assert plan.names == ("vocals", "accompaniment")
    assert plan.resolve(FOUR) == {"vocals": ("vocals",), "accompaniment": ("drums", "bass", "other")}
    assert plan.remainder(FOUR) == ()


def test_what_a_plan_leaves_out_is_the_remainder():
    plan = StemPlan.from_config({"rhythm": ["drums", "bass"]})
    assert plan.resolve(iter(FOUR)) == {"rhythm": ("drums", "bass")}
    assert plan.remainder(iter(FOUR)) == ("vocals", "other")


def test_a_bare_name_is_a_list_of_one():
    assert StemPlan.from_config({"voice": "vocals"}).resolve(FOUR) == {"voice": ("vocals",)}


def test_plans_are_equal_and_hashable_by_value():
    config = {"vocals": ["vocals"], "accompaniment": "rest"}
    assert len({StemPlan.from_config(config), StemPlan.from_config(config)}) == 1


def test_an_unknown_source_is_refused_with_what_there_is_and_a_suggestion():
    with pytest.raises(ConfigError, match=r"'vocal' \(did you mean vocals\?\).*vocals, drums, bass, other"):
        StemPlan.from_config({"vocals": ["vocal"]}).resolve(FOUR)


def test_a_rest_of_nothing_is_refused():
    plan = StemPlan.from_config({**{name: name for name in FOUR}, "accompaniment": "rest"})
    with pytest.raises(ConfigError, match="Nothing is left for the stem 'accompaniment'"):
        plan.resolve(FOUR)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "expected a mapping"),
        (["vocals"], "expected a mapping"),
        ({"vocals": []}, "stems.vocals is"),
        ({"vocals": 3}, "stems.vocals is 3"),
        ({"a": "rest", "b": "rest"}, "Only one stem can be 'rest', got it for a, b"),
        ({"a": ["vocals"], "b": ["drums", "vocals"]}, "'vocals' is asked for twice"),
        ({"_rest": ["vocals"]}, "choose another name"),
    ],
)
def test_impossible_plans_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        StemPlan.from_config(config)
