import sys

import numpy as np
import pytest
import torch

from tfswa_unet.bench.measures import CLEAR, PeakMemory
from tfswa_unet.processes import keep_pages

CPU = torch.device("cpu")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets the high-water mark")


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
