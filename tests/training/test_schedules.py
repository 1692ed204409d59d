import math

import pytest
import torch

from tfswa_unet.errors import ConfigError
from tfswa_unet.training.optimization import SCHEDULES, RunProgress, make_schedule


def test_cosine_warms_up_and_ends_at_its_floor():
    cosine = SCHEDULES["cosine"]
    assert cosine(RunProgress(0, 0, 0), warmup_steps=10, floor=0.0) == pytest.approx(0.1)
    assert cosine(RunProgress(50, 1, 0.5), warmup_steps=10, floor=0.0) == pytest.approx(0.5)
    assert cosine(RunProgress(50, 1, 1.0), warmup_steps=10, floor=0.05) == pytest.approx(0.05)
    assert cosine(RunProgress(50, 1, 0.25), warmup_steps=10, floor=0.0) == pytest.approx(
        (1 + math.cos(math.pi / 4)) / 2
    )


def test_step_and_the_papers_exponential():
    assert SCHEDULES["step"](RunProgress(25, 0, 0), every_steps=10, factor=0.5) == 0.25
    exponential = SCHEDULES["exponential"]
    assert [
        exponential(RunProgress(0, epoch, 0), every_epochs=1.5, factor=0.9) for epoch in (0, 1, 1.5, 3, 4.4)
    ] == pytest.approx([1, 1, 0.9, 0.81, 0.81])


def test_rates_follow_the_progress():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    now = RunProgress(0, 0.0, 0.0)
    schedule = make_schedule({"name": "cosine", "warmup_steps": 0, "floor": 0.0}, optimizer, lambda: now)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2.0)
    now = RunProgress(7, 0.5, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)


def test_unknown_schedule():
    with pytest.raises(ConfigError, match=r"unknown scheduler 'linear': expected one of cosine, step, exponential"):
        make_schedule({"name": "linear"}, torch.optim.SGD([torch.zeros(1)], lr=1.0), lambda: RunProgress(0, 0, 0))
