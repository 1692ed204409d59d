import time
from itertools import count

import pytest
import torch

from tfswa_unet.bench.measures import Stopwatch, median_seconds

CPU = torch.device("cpu")


def test_laps_are_shares_of_all_rounds():
    times = iter([0.0, 10.0, 11.0, 14.0, 100.0, 105.0, 106.0, 107.0])  # made; two rounds: start, laps
    watch = Stopwatch(CPU, clock=lambda: next(times))
    watch.start()
    watch.lap("wait")
    watch.lap("work")
    watch.start()
    watch.lap("wait")
    watch.lap("work")
    watch.lap("wait")
    assert watch.rounds == [{"wait": 1.0, "work": 3.0}, {"wait": 6.0, "work": 1.0}]
    assert watch.shares() == pytest.approx({"wait": 7 / 11, "work": 4 / 11})


def test_the_first_call_does_not_count():
    calls = count()
    median = median_seconds(lambda: time.sleep(0.2 if next(calls) == 0 else 0.01), 1, CPU)
    assert 0.01 <= median < 0.2
    assert next(calls) == 2
