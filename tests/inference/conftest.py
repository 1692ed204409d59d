"""Models whose output is known in closed form, in place of trained networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

RATE = 8000


class Gains(nn.Module):
    """Each stem is the mixture times a number."""

    def __init__(self, gains, rate=RATE, channels=2):
        super().__init__()
        self.stems, self.rate, self.channels = tuple(gains), rate, channels
        self.gains = torch.tensor(list(gains.values()))
        self.calls = []

    def forward(self, mixture):
        assert mixture.shape[1] == self.channels
        self.calls.append(tuple(mixture.shape))
        return mixture[:, None] * self.gains.to(mixture)[:, None, None]


class Blur(nn.Module):
    """Each stem is a random symmetric filter of the mixture with `reach` samples of context at either side."""

    def __init__(self, reach, rate=RATE, channels=2):
        super().__init__()
        self.stems, self.rate, self.channels = ("near", "far"), rate, channels
        self.conv = nn.Conv1d(channels, 2 * channels, 2 * reach + 1, padding=reach, bias=False)

    def forward(self, mixture):
        return self.conv(mixture).unflatten(1, (2, self.channels))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def gains():
    """Make a model of fixed gains."""
    return Gains


@pytest.fixture
def blur():
    """Make a model with a limited receptive field."""
    return Blur


@pytest.fixture
def noise():
    """Make noise (c, t) at about −20 dB."""

    def make(channels, length, seed=0):
        return (0.1 * np.random.default_rng(seed).standard_normal((channels, length))).astype(np.float32)

    return make


def streamed(separator, mixture, rate, block, **options):
    """All that a stream gives of blocks of so many samples, and how many samples it was late at most."""
    late = given = 0
    parts = []
    with separator.stream(rate, len(mixture), **options) as stream:
        for i in range(0, mixture.shape[1], block):
            late = max(late, min(i + block, mixture.shape[1]) - given)
            parts.append(stream.push(mixture[:, i : i + block]))
            given += next(iter(parts[-1].values())).shape[1]
        parts.append(stream.finish())
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}, late
