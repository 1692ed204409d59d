from __future__ import annotations

import pytest
import torch

from tfswa_unet.config import choice
from tfswa_unet.data.augmentation import AUGMENTATIONS, Augmentation

STRONG = choice("augmentation", "strong")


def strong(name: str, generator: torch.Generator | None = None, rate: int = 44_100, **changes: object) -> Augmentation:
    """An augmentation with the options of conf/augmentation/strong.yaml but for `changes`."""
    return AUGMENTATIONS.bind(name, {**STRONG[name], **changes}, generator=generator, rate=rate)()


@pytest.fixture
def stems():
    """Four examples of three stereo stems, one second at 8 kHz, all different."""
    return 0.1 * torch.randn(4, 3, 2, 8_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)
