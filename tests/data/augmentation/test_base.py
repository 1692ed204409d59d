from __future__ import annotations

import pytest
import torch

from tests.data.augmentation.conftest import STRONG, strong
from tfswa_unet.data.augmentation import AUGMENTATIONS
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


def test_the_strong_configuration_holds_every_option_of_every_augmentation():
    assert {name: set(options) for name, options in STRONG.items()} == {
        name: set(AUGMENTATIONS.options(name)) for name in AUGMENTATIONS
    }
