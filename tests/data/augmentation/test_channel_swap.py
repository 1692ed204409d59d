from __future__ import annotations

import torch

from tests.data.augmentation.conftest import strong


def test_left_and_right_change_places_stem_by_stem(stems, generator):
    result = strong("channel_swap", p=0.5, generator=generator).train()(stems)
    swapped = (result == stems.flip(2)).all(-1).all(-1)
    kept = (result == stems).all(-1).all(-1)
    assert (swapped ^ kept).all()
    assert swapped.any()
    assert kept.any()


def test_mono_stays():
    mono = torch.randn(2, 2, 1, 10)
    assert torch.equal(strong("channel_swap", p=1.0).train()(mono), mono)
