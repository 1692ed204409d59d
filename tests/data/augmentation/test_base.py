from __future__ import annotations

import copy

import pytest
import torch

from tests.data.augmentation.conftest import STRONG, strong
from tfswa_unet.data.augmentation import AUGMENTATIONS, Compose, build_augmentation, split
from tfswa_unet.errors import ConfigError

EVERY = pytest.mark.parametrize("name", AUGMENTATIONS)


@EVERY
def test_it_is_the_identity_in_eval_mode_and_with_p_0(name, stems):
    assert strong(name, p=1.0).eval()(stems) is stems
    assert strong(name, p=0.0).train()(stems) is stems


@EVERY
def test_it_changes_the_chosen_stems_keeps_the_shape_and_never_writes_into_the_input(name, stems):
    before = stems.clone()
    torch.manual_seed(3)
    result = strong(name, p=1.0).train()(stems)
    assert result.shape == stems.shape
    assert result.dtype == stems.dtype
    assert result.isfinite().all()
    changed = (result != before).any(-1).any(-1)
    assert changed.any() if name == "remix" else changed.all()  # chance may leave a stem in its place
    assert torch.equal(stems, before)


@EVERY
def test_with_p_one_half_some_stems_stay_bit_for_bit(name, generator):
    many = torch.randn(12, 2, 2, 2_000, generator=torch.Generator().manual_seed(0))
    result = strong(name, p=0.5, generator=generator).train()(many)
    changed = (result != many).flatten(2).any(2)
    assert 4 <= changed.sum() <= 20


@EVERY
def test_the_same_generator_state_gives_the_same_bytes_whatever_torchs_own_does(name, stems):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(strong(name, p=0.7, generator=torch.Generator().manual_seed(5)).train()(stems))
    assert torch.equal(*results)


@EVERY
def test_without_a_generator_torchs_own_seed_decides(name, stems):
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(strong(name, p=0.7).train()(stems))
    assert torch.equal(*results)


@EVERY
def test_silence_stays_silence(name):
    silence = torch.zeros(2, 2, 2, 4_000)
    assert torch.equal(strong(name, p=1.0).train()(silence), silence)


@EVERY
def test_p_must_be_a_probability(name):
    for p in (1.1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"p of augmentation \w+ is .* expected a number from 0 to 1"):
            strong(name, p=p)
    with pytest.raises(ConfigError, match=rf"augmentation\.{name}\.p is 'often', expected a number"):
        strong(name, p="often")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gain", {"low": 0.7, "high": 0.5}, r"high of augmentation Gain is 0\.5, expected a number from 0\.7"),
        ("loudness", {"spread": -1}, r"spread of augmentation Loudness is -1, .* from 0 to 40"),
        ("eq", {"high": 9_000, "rate": 16_000}, r"high of augmentation Equaliser is 9000, .* from 60 to 8000"),
        ("eq", {"low": 500, "high": 400}, r"high of augmentation Equaliser is 400, .* from 500 to 22050"),
        ("eq", {"q_low": 3}, "q_high of augmentation Equaliser is 2, .* from 3 to 4"),
        ("eq", {"bands": 0}, "bands of augmentation Equaliser is 0, .* from 1 to 20"),
        ("reverb", {"rt60_low": 2}, r"rt60_high of augmentation Reverb is 1\.2, .* from 2 to 20"),
        ("reverb", {"wet_low": -200}, r"wet_low of augmentation Reverb is -200, "),
        ("distortion", {"low": 5, "high": 3}, r"high of augmentation Distortion is 3, .* from 5 to 60"),
        ("stereo", {"delay": 0.2}, r"delay of augmentation StereoImage is 0\.2, expected a number from 0 to 0\.1"),
        ("frequency_mask", {"bins": 2_000}, r"bins of augmentation FrequencyMask is 2000, .* from 1 to 1024"),
        ("time_mask", {"frames": 0}, "frames of augmentation TimeMask is 0, expected a number from 1"),
        ("pitch", {"semitones": 13}, "semitones of augmentation Pitch is 13, expected a number from 0 to 12"),
        ("time_stretch", {"low": 1.1, "high": 0.9}, r"high of augmentation TimeStretch is 0\.9, .* from 1\.1 to 4"),
        ("time_stretch", {"low": 0}, "low of augmentation TimeStretch is 0,"),
        ("mixup", {"alpha": 0}, "alpha of augmentation Mixup is 0, expected a number from"),
        ("bleed", {"high": 3}, r"high of augmentation Bleed is 3, .* from -40 to 0"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        strong(name, **options)


def test_the_strong_configuration_holds_every_option_of_every_augmentation():
    assert {name: set(options) for name, options in STRONG.items()} == {
        name: set(AUGMENTATIONS.options(name)) for name in AUGMENTATIONS
    }


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
        ({"time_strech": {}}, r"unknown augmentation 'time_strech' \(did you mean time_stretch\?\): .* gain,"),
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
