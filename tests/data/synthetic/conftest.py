import pytest

from tfswa_unet.data.synthetic import synthesize

SEEDS = range(8)
SECONDS = 8.0


@pytest.fixture(scope="session")
def songs():
    return [synthesize(seed, SECONDS) for seed in SEEDS]
