"""Paired differences of two evaluations."""

import numpy as np
import pytest

from tests.evaluation.records import write_result
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.compare import compare, verdict
from tfswa_unet.evaluation.results import read_result

BASE = np.random.default_rng(3).normal(5, 4, 40)  # dB; tracks differ far more than models do


@pytest.fixture
def pair(tmp_path):
    def pair(first, second, stem="vocals", **changes):
        """Evaluations whose tracks have these SDRs of one stem; None where a track has none."""
        folders = [
            write_result(tmp_path / name, {f"song {n}": {stem: {"SDR": x}} for n, x in enumerate(scores)}, **more)
            for name, scores, more in (("a", first, {}), ("b", second, changes))
        ]
        return [read_result(folder) for folder in folders]

    return pair


def test_a_difference_that_all_tracks_share_is_more_than_chance(pair):
    jitter = np.random.default_rng(0).normal(0, 0.1, len(BASE))
    vocals, average = compare(*pair(BASE, BASE + 0.3 + jitter), "SDR")
    assert (vocals.stem, vocals.tracks) == ("vocals", 40)
    assert vocals.mean == pytest.approx(0.3 + jitter.mean())
    assert vocals.second - vocals.first == pytest.approx(vocals.mean)
    assert vocals.certain
    assert vars(average) == vars(vocals) | {"stem": "average"}


def test_the_interval_is_that_of_the_normal_distribution_where_differences_are_normal(pair):
    apart = np.random.default_rng(1).normal(0.2, 1, len(BASE))
    (vocals, _) = compare(*pair(BASE, BASE + apart), "SDR")
    half = 1.96 * apart.std() / np.sqrt(len(apart))
    assert vocals.low == pytest.approx(apart.mean() - half, abs=0.05)
    assert vocals.high == pytest.approx(apart.mean() + half, abs=0.05)


def test_intervals_leave_out_the_truth_as_often_as_they_say(pair):
    generator = np.random.default_rng(2)
    certain = [compare(*pair(np.zeros(30), generator.normal(0, 1, 30)), "SDR")[0].certain for _ in range(60)]
    assert 0 < sum(certain) < 10  # of 60 pairs without a difference 5 % are told apart, a few more with 30 tracks


def test_tracks_without_a_score_in_both_are_left_out_together(pair):
    first, second = [1.0, 2.0, None, 4.0], [2.0, None, 9.0, 4.5]
    (vocals, _) = compare(*pair(first, second), "SDR")
    assert (vocals.tracks, vocals.first, vocals.second, vocals.mean) == (2, 2.5, 3.25, 0.75)
    assert vocals.low is None
    assert not vocals.certain


def test_an_average_takes_the_same_stems_of_a_track_from_both(tmp_path):
    a = {"x": {"vocals": {"SDR": 1.0}, "bass": {"SDR": None}}, "y": {"vocals": {"SDR": 3.0}, "bass": {"SDR": 5.0}}}
    b = {"x": {"vocals": {"SDR": 2.0}, "bass": {"SDR": 7.0}}, "y": {"vocals": {"SDR": 3.0}, "bass": {"SDR": 6.0}}}
    found = compare(read_result(write_result(tmp_path / "a", a)), read_result(write_result(tmp_path / "b", b)), "SDR")
    by_stem = {each.stem: (each.tracks, each.mean) for each in found}
    assert by_stem == {"vocals": (2, 0.5), "bass": (1, 1.0), "average": (2, 0.75)}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"split": "valid"}, "split is 'test' in a and 'valid' in b"),
        ({"max_seconds": 30.0}, "max_seconds is None in a and 30.0 in b"),
        ({"metric": {"name": "BSSEval v4", "window_seconds": 10.0, "hop_seconds": 10.0}}, "window_seconds is 1.0"),
    ],
)
def test_what_was_scored_otherwise_is_refused(pair, changes, named):
    with pytest.raises(ConfigError, match=named):
        compare(*pair([1.0], [2.0], **changes), "SDR")


def test_a_metric_that_none_has_is_refused_with_those_there_are(pair):
    with pytest.raises(ConfigError, match="no track has SIR in both evaluations: choose a metric of SDR"):
        compare(*pair([1.0], [2.0]), "SIR")


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (BASE + 1, r"B is 1.00 dB SDR above A .* 40 tracks, more than chance \(95 % interval 1.00 to 1.00 dB\)"),
        (BASE - 1, r"A is 1.00 dB SDR above B .* more than chance \(95 % interval 1.00 to 1.00 dB\)"),
        (BASE + np.tile([2, -1.9], 20), r"B is 0.05 dB .*, which may be chance \(95 % interval -0.\d\d to 0.\d\d dB\)"),
        (BASE[:5] + 1, r"B is 1.00 dB .* 5 tracks: too few to tell it from chance, which takes 6 or more"),
    ],
)
def test_a_verdict_says_who_is_ahead_and_whether_it_is_chance(pair, second, sentence):
    import re

    told = verdict("A", "B", compare(*pair(BASE[: len(second)], second), "SDR"), "SDR")
    assert re.search(sentence, told), told
