from __future__ import annotations

import os

import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from tfswa_unet.data.segments import loader


class Counts:
    """Examples that are full of their numbers."""

    shape = (2, 1, 1_000)
    faulty = None

    def __len__(self):
        return 23

    def __getitem__(self, item):
        example = torch.empty(self.shape)
        self.fill(example, item)
        return example

    def fill(self, example, item):
        if item == self.faulty:
            raise ValueError(f"no example {item}")
        example[:] = item + torch.arange(2)[:, None, None] / 10


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_a_plain_loader_and_stay_what_they_are(workers):
    data = Counts()
    expected = list(DataLoader(data, 4))
    ours = loader(data, 4, workers, SequentialSampler(data))
    # All are kept, while their workers go on writing to the memory that they came through.
    for _ in range(3):
        batches = list(ours)
        assert [batch.shape for batch in batches] == [(4, *data.shape)] * 5 + [(3, *data.shape)]
        assert all(torch.equal(a, b) for a, b in zip(batches, expected, strict=True))
    assert len(loader(data, 4, workers, SequentialSampler(data), drop_last=True)) == 5


def test_two_iterations_at_once_and_broken_off_ones_do_not_mix():
    data = Counts()
    ours = loader(data, 4, 2, SequentialSampler(data))
    expected = list(DataLoader(data, 4))
    for _ in range(3):
        next(iter(ours))
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    other = loader(data, 4, 2, SequentialSampler(data))
    for a, b, c in zip(ours, other, expected, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, c)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_in_an_example_is_told(workers):
    data = Counts()
    data.faulty = 9
    batches = iter(loader(data, 4, workers, SequentialSampler(data)))
    assert [next(batches)[0, 0, 0, 0].item() for _ in range(2)] == [0, 4]
    with pytest.raises(ValueError, match="no example 9"):
        next(batches)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="reads what is mapped as Linux shows it")
def test_a_worker_shares_no_more_memory_than_is_on_its_way():
    data = Counts()
    ours = loader(data, 4, 1, SequentialSampler(data))

    def shared(batches):
        pid = batches._workers[0].pid
        with open(f"/proc/{pid}/maps") as maps:
            return sum(f"/torch_{pid}_" in line for line in maps)

    counts = []
    for _ in range(4):
        batches = iter(ours)
        list(batches)
        counts.append(shared(batches))
    # Two batches ahead and the one being written.
    assert 1 <= max(counts) <= 2 + 1
