from __future__ import annotations

import pytest
import torch


@pytest.fixture
def stems():
    """Four examples of three stereo stems, one second at 8 kHz, all different."""
    return 0.1 * torch.randn(4, 3, 2, 8_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)
