from __future__ import annotations

import torch

from tests.data.augmentation.conftest import strong


def test_chosen_stems_change_their_sign_and_nothing_else(stems, generator):
    result = strong("polarity", p=0.5, generator=generator).train()(stems)
    sign = (result / stems)[..., :1, :1]
    assert set(sign.flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(result, stems * sign)
