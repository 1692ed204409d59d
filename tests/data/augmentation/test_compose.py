from __future__ import annotations

import pytest
import torch

from tfswa_unet.data.augmentation import AUGMENTATIONS, Gain, Polarity, build_augmentation
from tfswa_unet.errors import ConfigError


def test_a_mapping_gives_its_augmentations_in_order(stems):
    both = build_augmentation({"polarity": {"p": 1.0}, "gain": {"p": 1.0, "low": 0.5, "high": 0.5}})
    assert [type(module) for module in both] == [Polarity, Gain]
    torch.testing.assert_close(both.train()(stems), -0.5 * stems)


def test_a_list_of_mappings_may_name_one_twice(stems):
    twice = build_augmentation([{"gain": {"p": 1.0, "low": 0.5, "high": 0.5}}, {"gain": {"p": 1, "low": 3, "high": 3}}])
    torch.testing.assert_close(twice.train()(stems), 1.5 * stems)


@pytest.mark.parametrize("config", [None, {}, [], {"gain": None}])
def test_nothing_is_the_identity(config, stems):
    assert build_augmentation(config).train()(stems) is stems


def test_one_generator_serves_all(stems):
    config = {name: {"p": 0.5} for name in AUGMENTATIONS}
    results = [build_augmentation(config, torch.Generator().manual_seed(3)).train()(stems) for _ in range(2)]
    assert torch.equal(*results)


def test_the_mixture_is_the_sum_after_all_of_them(stems):
    """In eval mode nothing acts, whatever the probabilities."""
    every = build_augmentation({name: {"p": 1.0} for name in AUGMENTATIONS})
    assert every.eval()(stems) is stems
    assert every.train()(stems).sum(1).shape == (4, 2, 8_000)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"time_strech": {}},
            r"unknown augmentation 'time_strech' \(did you mean time_stretch\?\): .* gain,",
        ),
        ({"gain": {"hi": 2}}, r"unknown setting of augmentation.gain 'hi'.*expected one of p, low, high"),
        ({"gain": {"generator": None}}, "unknown setting of augmentation.gain 'generator'"),
        ({"gain": {"p": 2}}, "p of augmentation Gain is 2"),
        ({"gain": 0.5}, "augmentation.gain is 0.5, expected its settings"),
        (["gain"], "augmentation holds 'gain', expected a mapping"),
    ],
)
def test_unknown_names_and_settings_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        build_augmentation(config)
