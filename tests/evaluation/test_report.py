from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import replace

import museval
import numpy as np
import pytest

from tfswa_unet.evaluation import report
from tfswa_unet.evaluation.bsseval import METRICS, TrackScores, museval_json
from tfswa_unet.evaluation.report import MODEL, Scores, aggregate, spreadsheet

STEMS = ("vocals", "bass")


def random_tracks(seed=0, count=3, frames=7):
    random = np.random.default_rng(seed)
    tracks = []
    for number in range(count):
        rows = {stem: {metric: random.normal(5, 4, frames + number) for metric in METRICS} for stem in STEMS}
        for stem in STEMS:
            rows[stem]["SDR"][random.integers(frames, size=2)] = np.nan
        rows["bass"]["SIR"][0] = np.inf
        tracks.append(TrackScores(f"song {number}", rows, {"uSDR": {stem: float(number) for stem in STEMS}}))
    return tracks


def nan_medians(tracks, stem, metric):
    return [np.nanmedian(np.where(np.isinf(t.frames[stem][metric]), np.nan, t.frames[stem][metric])) for t in tracks]


def test_aggregate_is_numpys_nanmedian():
    tracks = random_tracks()
    found = aggregate(tracks)
    for metric in METRICS:
        expected = {stem: np.nanmedian(nan_medians(tracks, stem, metric)) for stem in STEMS}
        assert {stem: found.stems[stem].values[metric] for stem in STEMS} == pytest.approx(expected)
        assert found.average[metric] == pytest.approx(np.mean(list(expected.values())))
        for track, value in zip(tracks, nan_medians(tracks, "bass", metric), strict=True):
            assert found.tracks[track.track]["bass"][metric] == pytest.approx(value)
    assert found.stems["bass"].values["uSDR"] == 1.0


def test_aggregate_is_musevals():
    tracks = random_tracks(1)
    store = museval.EvalStore()
    for track in tracks:
        store.add_track(museval.aggregate.json2df(json.loads(museval_json(track, 1.0, 1.0)), track.track))
    expected = store.agg_frames_tracks_scores().unstack()
    found = aggregate(tracks)
    for stem in STEMS:
        for metric in METRICS:
            assert found.stems[stem].values[metric] == pytest.approx(expected[metric][stem], abs=2e-5)


def test_nan_windows_and_silent_tracks_are_counted():
    tracks = random_tracks(2, count=2)
    silent = {metric: np.full(7, np.nan) for metric in METRICS}
    tracks[0] = TrackScores("song 0", {**tracks[0].frames, "bass": silent}, tracks[0].whole, ("bass",))
    bass = aggregate(tracks).stems["bass"]
    assert bass.frames == 7 + 8
    assert bass.nan_frames == 7 + int(np.isnan(tracks[1].frames["bass"]["SDR"]).sum())
    assert bass.silent_tracks == ("song 0",)
    assert bass.values["SDR"] == pytest.approx(np.nanmedian(tracks[1].frames["bass"]["SDR"]))


def test_a_stem_without_any_score_is_null_and_out_of_the_average():
    nothing = {metric: np.full(3, np.nan) for metric in METRICS}
    something = {metric: np.array([1.0, 2.0, 9.0]) for metric in METRICS}
    track = TrackScores(
        "song", {"vocals": something, "bass": nothing}, {"uSDR": {"vocals": 1.0, "bass": 0.0}}, ("bass",)
    )
    summary = Scores({MODEL: aggregate([track])}, {"model": "m"}).to_dict()
    assert summary["scores"][MODEL]["bass"]["SDR"] is None
    assert summary["scores"][MODEL]["average"]["SDR"] == 2.0
    assert summary["nan"][MODEL]["bass"] == {"frames": 3, "nan_frames": 3, "silent_tracks": ["song"]}
    json.dumps(summary, allow_nan=False)


def test_the_spreadsheet_has_a_row_for_each_track_method_and_stem():
    tracks = random_tracks(3, count=2)
    tracks[1] = replace(tracks[1], null_error=-20.5, track="a, b", whole={"uSDR": {"vocals": np.nan, "bass": 2.0}})
    methods = {MODEL: aggregate(tracks), "mixture": aggregate([replace(track, frames=fast(track)) for track in tracks])}
    text = spreadsheet(Scores(methods, {"tracks": ["song 0", "a, b"]}))
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["track", "method", "stem", *METRICS, "uSDR", "null_error"]
    expected = [(t, m, s) for t in ("song 0", "a, b") for m in (MODEL, "mixture") for s in STEMS]
    assert [(row["track"], row["method"], row["stem"]) for row in rows] == expected
    found = methods[MODEL].tracks["a, b"]["bass"]
    assert {metric: float(rows[5][metric]) for metric in METRICS} == {metric: found[metric] for metric in METRICS}
    assert [row["uSDR"] for row in rows[3:6]] == ["0.0", "", "2.0"]
    assert [row["null_error"] for row in rows[3:6]] == ["", "-20.5", "-20.5"]
    assert rows[7]["SDR"] == rows[5]["SDR"]
    assert rows[7]["ISR"] == ""


def fast(track):
    return {stem: {"SDR": values["SDR"]} for stem, values in track.frames.items()}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-c", "core.hooksPath=/dev/null", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(report, "PACKAGE", tmp_path)
    return git


def test_commit_names_the_head_and_says_when_files_differ(repository, tmp_path):
    repository("add", "__init__.py")
    repository("commit", "--quiet", "-m", "first")
    head = repository("rev-parse", "HEAD")
    (tmp_path / "untracked.txt").write_text("")
    assert report.commit() == head
    (tmp_path / "__init__.py").write_text("a = 2\n")
    assert report.commit() == f"{head}+dirty"


def test_commit_of_a_repository_that_does_not_hold_the_package_is_none(repository, tmp_path):
    (tmp_path / "other.txt").write_text("")
    repository("add", "other.txt")
    repository("commit", "--quiet", "-m", "first")
    assert report.commit() is None


def test_commit_outside_git_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert report.commit() is None
