from __future__ import annotations

import pytest
import torch

from tfswa_unet.data.augmentation import AUGMENTATIONS, Remix
from tfswa_unet.errors import ConfigError

EVERY = pytest.mark.parametrize("kind", AUGMENTATIONS.values(), ids=list(AUGMENTATIONS))


@EVERY
def test_it_is_the_identity_in_eval_mode_and_with_p_0(kind, stems):
    assert kind(p=1.0).eval()(stems) is stems
    assert kind(p=0.0).train()(stems) is stems


@EVERY
def test_it_changes_the_chosen_stems_keeps_the_shape_and_never_writes_into_the_input(kind, stems):
    before = stems.clone()
    torch.manual_seed(3)
    result = kind(p=1.0).train()(stems)
    assert result.shape == stems.shape
    assert result.dtype == stems.dtype
    assert result.isfinite().all()
    changed = (result != before).any(-1).any(-1)
    assert changed.any() if kind is Remix else changed.all()  # chance may leave a stem in its place
    assert torch.equal(stems, before)


@EVERY
def test_with_p_one_half_some_stems_stay_bit_for_bit(kind, generator):
    many = torch.randn(12, 2, 2, 2_000, generator=torch.Generator().manual_seed(0))
    result = kind(p=0.5, generator=generator).train()(many)
    changed = (result != many).flatten(2).any(2)
    assert 4 <= changed.sum() <= 20


@EVERY
def test_the_same_generator_state_gives_the_same_bytes_whatever_torchs_own_does(kind, stems):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(kind(p=0.7, generator=torch.Generator().manual_seed(5)).train()(stems))
    assert torch.equal(*results)


@EVERY
def test_without_a_generator_torchs_own_seed_decides(kind, stems):
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(kind(p=0.7).train()(stems))
    assert torch.equal(*results)


@EVERY
def test_silence_stays_silence(kind):
    silence = torch.zeros(2, 2, 2, 4_000)
    assert torch.equal(kind(p=1.0).train()(silence), silence)


@EVERY
def test_p_must_be_a_probability(kind):
    for p in (1.1, -0.1, "often", float("nan")):
        with pytest.raises(ConfigError, match=f"p of augmentation {kind.__name__} is .* expected a number from 0 to 1"):
            kind(p=p)
