import sys
import time
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from tfswa_unet import models
from tfswa_unet.bench import measures
from tfswa_unet.bench.measures import (
    CLEAR,
    PeakMemory,
    Stopwatch,
    count_flops,
    count_operations,
    flops_per_second,
    lstm_flops,
    median_seconds,
    peak_bytes,
)
from tfswa_unet.nn import attend
from tfswa_unet.processes import keep_pages

CPU = torch.device("cpu")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets the high-water mark")


def test_laps_are_shares_of_all_rounds(monkeypatch):
    times = iter([10.0, 11.0, 14.0, 100.0, 105.0, 106.0, 107.0])  # two rounds: start, laps
    monkeypatch.setattr(measures.time, "perf_counter", lambda: next(times))
    watch = Stopwatch(CPU)
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


@linux
def test_only_what_came_after_counts():
    keep_pages()
    before = np.ones(25_000_000)  # 200 MB
    with_it = PeakMemory(CPU).start_mb
    del before
    peak = PeakMemory(CPU)
    assert peak.start_mb < with_it - 150
    inside = np.ones(12_500_000)  # 100 MB
    del inside
    assert 90 < peak.megabytes() - peak.start_mb < 180


def test_unknown_where_the_mark_cannot_be_reset(tmp_path, monkeypatch):
    monkeypatch.setattr("tfswa_unet.bench.measures.CLEAR", tmp_path / CLEAR.name / "none")
    peak = PeakMemory(CPU)
    assert peak.start_mb is None
    assert peak.megabytes() is None


def test_the_most_at_once_is_the_closed_form():
    def work():
        first = torch.empty(1_000_000, dtype=torch.uint8)
        second = torch.empty(500_000, dtype=torch.uint8)
        del first
        return second, torch.empty(250_000, dtype=torch.uint8)

    assert peak_bytes(work, CPU) == 1_500_000


def test_what_a_backward_pass_needs_is_counted():
    x = torch.ones(1_000, requires_grad=True)
    # Each exp keeps its result, and a gradient of that size comes back; the sum's is one number, spread out.
    assert peak_bytes(lambda: x.exp().exp().sum().backward(), CPU) == pytest.approx(3 * 4_000, abs=100)


@pytest.mark.slow
def test_checkpointing_of_tfswa_base_at_six_seconds_saves_two_fifths_and_keeps_the_gradients():
    torch.manual_seed(0)
    model = models.build(models.preset("tfswa_base"))
    mixture = torch.randn(1, 2, 6 * 44_100)

    def there_and_back():
        model(mixture).abs().mean().backward()

    there_and_back()  # the parameters' gradients stay
    most, gradients = {}, {}
    for checkpointing in (False, True):
        model.network.checkpointing = checkpointing
        model.zero_grad(set_to_none=False)
        most[checkpointing] = peak_bytes(there_and_back, CPU)
        gradients[checkpointing] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert most[True] < 0.6 * most[False]
    largest = gradients[False].abs().max()
    assert largest > 0
    assert (gradients[True] - gradients[False]).abs().max() < 1e-5 * largest


def test_flops_are_those_of_the_closed_form():
    class Filter(nn.Module):
        rate, channels = 8000, 2

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 6, 5, padding=2)

        def forward(self, mixture):
            return self.conv(mixture).unflatten(1, (3, 2))

    assert flops_per_second(Filter()) == 2 * 8000 * 2 * 6 * 5


@pytest.mark.parametrize("tokens", [16, 256])
@pytest.mark.parametrize("bias", [None, torch.zeros(1, requires_grad=True)])  # the fused kernel, and plain products
def test_attention_counts_whichever_kernel_computes_it(tokens, bias):
    qkv = torch.randn(2, tokens, 3 * 24)
    assert count_flops(lambda: attend(qkv, 3, bias=bias)) == 2 * 2 * (2 * 3) * tokens * tokens * 8


def test_operations_are_what_computes():
    x = torch.randn(4, 6, requires_grad=True)
    assert count_operations(lambda: x.view(2, 12).t()[1:].unbind(0)) == 0  # views
    assert count_operations(lambda: torch.empty(3)) == 0
    assert count_operations(lambda: x.t().contiguous().exp_()) == 2
    product = (x * 3).exp()
    assert count_operations(lambda: torch.autograd.grad(product, x, torch.ones(4, 6))) == 3  # ones, two products


def test_an_lstms_products():
    one = nn.LSTM(3, 5)
    assert lstm_flops(one, 7) == 7 * 2 * (4 * 5 * 3 + 4 * 5 * 5)
    assert lstm_flops(nn.LSTM(8, 4, 2, bidirectional=True), 1) == 4 * 2 * (16 * 8 + 16 * 4)
