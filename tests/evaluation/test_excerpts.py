"""The worst passages of an evaluation."""

import numpy as np
import pytest
import soundfile

from tests.evaluation.conftest import RATE, noise
from tfswa_unet.audio import read
from tfswa_unet.evaluation.bsseval import TrackScores
from tfswa_unet.evaluation.excerpts import SOUNDS, Excerpt, keep, worst
from tfswa_unet.evaluation.tracks import ScoredTrack


def scores(track, sdr):
    return TrackScores(track, {"bass": {"SDR": np.array(sdr, dtype=float)}}, {"uSDR": {"bass": 0.0}})


def test_the_passage_with_the_lowest_mean_is_found_in_all_tracks():
    best, bad = [9.0] * 30, [9.0] * 30
    bad[12:22] = [1.0] * 10
    bad[3] = -20.0  # one bad window does not make a bad passage
    found = worst([scores("good", best), scores("bad", bad)], "bass", 1.0, 1.0)
    assert found == Excerpt("bass", "bad", 12.0, 10.0, 1.0)


@pytest.mark.parametrize(
    ("window", "hop", "start", "seconds"), [(1.0, 0.5, 4.0, 10.0), (10.0, 10.0, 70.0, 10.0), (4.0, 3.0, 21.0, 10.0)]
)
def test_windows_of_any_length_make_ten_seconds(window, hop, start, seconds):
    sdr = [5.0] * 40
    first = round(start / hop)
    count = round((seconds - window) / hop) + 1
    sdr[first : first + count] = [0.0] * count
    assert worst([scores("a", sdr)], "bass", window, hop) == Excerpt("bass", "a", start, seconds, 0.0)


def test_windows_without_a_score_do_not_count():
    sdr = [3.0] * 10 + [np.nan] * 9 + [-5.0] + [np.inf] * 10 + [2.0] * 10
    found = worst([scores("a", sdr)], "bass", 1.0, 1.0)
    assert (found.start, found.sdr) == (25.0, 2.0)  # the lonely −5 dB is not half of ten seconds


def test_a_track_shorter_than_ten_seconds_is_one_passage():
    assert worst([scores("a", [np.nan, 4.0, 2.0])], "bass", 1.0, 1.0) == Excerpt("bass", "a", 0.0, 10.0, 3.0)


def test_silence_has_no_worst_passage():
    assert worst([scores("a", [np.nan] * 20), scores("b", [np.inf] * 3)], "bass", 1.0, 1.0) is None


def test_what_is_kept_is_the_passage_itself(make_track, tmp_path):
    stems = {"bass": noise(0, 14), "vocals": noise(1, 14)}
    song = ScoredTrack(make_track("song", stems), {"bass": ("bass",), "vocals": ("vocals",)})
    asked = []

    def separate(given):
        asked.append(given.name)
        return {stem: 0.5 * audio for stem, audio in stems.items()}

    excerpts = [Excerpt("bass", "song", 3.0, 10.0, 6.0), Excerpt("vocals", "song", 0.0, 20.0, 6.0)]
    keep(excerpts, {"song": song}, separate, tmp_path / "out")
    assert asked == ["song"]
    kept = {name: read(tmp_path / "out" / "worst" / excerpts[0].sound(name)) for name in SOUNDS}
    within = slice(3 * RATE, 13 * RATE)
    expected = {"mixture": stems["bass"] + stems["vocals"], "estimate": 0.5 * stems["bass"], "target": stems["bass"]}
    for name, sound in kept.items():
        assert sound.shape == (2, 480_000)
        there, here = sound[:, ::6], expected[name][:, within]  # 8 of 48 kHz, below 4 kHz of which all lies
        assert np.corrcoef(there.ravel(), here.ravel())[0, 1] > 0.97, name
    assert soundfile.info(tmp_path / "out" / "worst" / "vocals-target.opus").duration == pytest.approx(14, abs=0.01)
    assert (tmp_path / "out" / "worst" / "bass.png").stat().st_size > 10_000
