from functools import partial

import numpy as np
import pytest

from tfswa_unet.bench import scoring
from tfswa_unet.bench.scoring import measure, stems
from tfswa_unet.bench.settings import ScoringSetting
from tfswa_unet.errors import ConfigError


def test_both_are_timed_on_the_same_track(monkeypatch):
    calls = []

    def scored(name, offset, references, estimates, window, hop):
        calls.append((name, references.shape, window, hop))
        return np.full((4, 4, 2), offset)

    for name, offset in (("torch", 1.0), ("museval", 1.5)):
        monkeypatch.setitem(scoring.EVALUATORS, name, partial(scored, name, offset))
    monkeypatch.setattr(scoring, "stems", lambda seconds: np.zeros((2, 4, 2, round(44_100 * seconds))))
    record = measure(ScoringSetting(seconds=1.0, long=1.5, runs=2))
    times = record["median_seconds"]
    assert record["times_faster"] == pytest.approx(times["museval"] / times["torch"])
    assert set(times) == {"torch", "museval", "the other measures"}
    assert times["the other measures"] > 0
    assert record["long"]["museval_seconds_extrapolated"] == pytest.approx(1.5 * times["museval"])
    assert record["most_difference_db"] == dict.fromkeys(("SDR", "ISR", "SIR", "SAR"), 0.5)
    assert [call[0] for call in calls[:6]] == ["torch", "museval"] * 3
    assert calls[-1] == ("torch", (4, 2, 66_150), 44_100, 44_100)


def test_the_track_is_four_stems_and_estimates_near_them():
    true, estimates = stems(1.0)
    assert true.shape == estimates.shape == (4, 2, 44_100)
    assert 0 < abs(true - estimates).std() < true.std()


def test_impossible_lengths_are_refused():
    with pytest.raises(ConfigError, match="--long -1"):
        ScoringSetting(long=-1.0)
