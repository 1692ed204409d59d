from __future__ import annotations

import copy

import pytest
import torch

from tests.data.augmentation.conftest import STRONG, strong
from tfswa_unet.data.augmentation import AUGMENTATIONS, Compose, build_augmentation, split
from tfswa_unet.errors import ConfigError


def test_a_mapping_gives_its_augmentations_in_order(stems):
    both = build_augmentation({"polarity": {"p": 1.0}, "gain": {"p": 1.0, "low": 0.5, "high": 0.5}})
    assert [type(module) for module in both] == [AUGMENTATIONS["polarity"], AUGMENTATIONS["gain"]]
    torch.testing.assert_close(both.train()(stems), -0.5 * stems)


def test_a_list_of_mappings_may_name_one_twice(stems):
    twice = build_augmentation([{"gain": {"p": 1.0, "low": 0.5, "high": 0.5}}, {"gain": {"p": 1, "low": 3, "high": 3}}])
    torch.testing.assert_close(twice.train()(stems), 1.5 * stems)


@pytest.mark.parametrize("config", [None, {}, [], {"gain": None}])
def test_nothing_is_the_identity(config, stems):
    assert build_augmentation(config).train()(stems) is stems


def test_one_generator_serves_all(stems):
    config = {name: {**options, "p": 0.5} for name, options in STRONG.items()}
    results = [build_augmentation(config, torch.Generator().manual_seed(3)).train()(stems) for _ in range(2)]
    assert torch.equal(*results)


def test_the_mixture_is_the_sum_after_all_of_them(stems):
    """In eval mode nothing acts, whatever the probabilities."""
    every = build_augmentation({name: {**options, "p": 1.0} for name, options in STRONG.items()})
    assert every.eval()(stems) is stems
    assert every.train()(stems).sum(1).shape == (4, 2, 8_000)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"time_strech": {}},
            r"unknown augmentation 'time_strech' \(did you mean time_stretch\?\): .* gain,",
        ),
        ({"gain": {"hi": 2}}, r"unknown option augmentation\.gain\.hi.*: it takes p, low, high"),
        ({"gain": {"generator": None}}, r"unknown option augmentation\.gain\.generator"),
        ({"gain": {**STRONG["gain"], "p": 2}}, r"p of augmentation Gain is 2"),
        ({"gain": {"p": 0.5}}, r"augmentation\.gain\.low is missing: give it a value"),
        ({"gain": {**STRONG["gain"], "p": "often"}}, r"augmentation\.gain\.p is 'often', expected a number"),
        ({"gain": 0.5}, "augmentation.gain is 0.5, expected its options"),
        (["gain"], "augmentation holds 'gain', expected a mapping"),
    ],
)
def test_unknown_names_and_settings_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        build_augmentation(config)


def test_numbers_decide_what_is_drawn(stems):
    every = build_augmentation({name: {**options, "p": 0.5} for name, options in STRONG.items()}).train()
    drawn = []
    for numbers in [(0, 3, 7), (0, 3, 8), (0, 4, 7), (1, 3, 7), (0, 3, 7)]:
        every.seed(*numbers)
        drawn.append(every(stems))
    assert torch.equal(drawn[0], drawn[4])
    for i in range(4):
        for j in range(i):
            assert not torch.equal(drawn[i], drawn[j])


def test_a_copy_draws_on_its_own_but_the_same(stems):
    one = build_augmentation({"gain": {**STRONG["gain"], "p": 1.0}, "polarity": {"p": 0.5}}).train()
    one.seed(5)
    other = copy.deepcopy(one)
    first = one(stems)
    assert torch.equal(other(stems), first)


def test_members_with_generators_of_their_own_are_all_seeded(stems):
    both = Compose(
        strong("gain", p=1.0, generator=torch.Generator()), strong("gain", p=1.0, generator=torch.Generator())
    ).train()
    results = []
    for _ in range(2):
        both.seed(1, 2)
        results.append(both(stems))
    assert torch.equal(*results)
    both.seed(1, 2)
    assert both[0].generator.initial_seed() != both[1].generator.initial_seed()


def test_nothing_to_seed_is_no_fault():
    state = torch.get_rng_state()
    build_augmentation(None).seed(1, 2, 3)
    Compose(strong("gain")).seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # torch's own generator is not ours to seed


def test_without_a_generator_torchs_seed_is_where_they_start(stems):
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(build_augmentation({"gain": {**STRONG["gain"], "p": 1.0}}).train()(stems))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_rate_reaches_those_that_need_it():
    config = {name: STRONG[name] for name in ("eq", "reverb", "loudness", "mp3", "gain")}
    eq, reverb, loudness, mp3, _ = build_augmentation(config, rate=32_000)
    assert (eq.rate, reverb.rate, loudness.rate, mp3.rate) == (32_000, 32_000, 32_000, 32_000)


def test_what_is_slow_goes_to_the_workers_in_its_order():
    mp3, gain, pitch, stretch = ({name: STRONG[name]} for name in ("mp3", "gain", "pitch", "time_stretch"))
    config = [{**mp3, **gain, "mixup": None, **pitch}, {**gain, **stretch}]
    for_workers, for_batches = split(config)
    assert for_workers == [mp3, pitch, stretch]
    assert for_batches == [gain, gain]
    assert len(build_augmentation(for_workers)) == 3
    assert split(None) == ([], [])


def test_splitting_refuses_unknown_names():
    with pytest.raises(ConfigError, match="unknown augmentation 'mp4'"):
        split({"mp4": {}})
