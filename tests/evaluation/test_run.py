from __future__ import annotations

import hashlib
import json
import os
import shutil

import museval
import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.conftest import RATE, noise
from tfswa_unet.data import StemPlan
from tfswa_unet.errors import ConfigError, DataError, ModelError, UserError
from tfswa_unet.evaluation import EvaluationSettings, evaluate, scorer, sdr
from tfswa_unet.evaluation.report import MODEL
from tfswa_unet.types import Source, Track

TWO = StemPlan((("vocals", ("vocals",)), ("bass", ("bass",))))


class Separator:
    """Gives stems that are off by a little noise, and counts how often it is asked."""

    def __init__(self, tracks, error=0.02):
        self.calls, self.tracks, self.error = 0, tracks, error

    def __call__(self, mixture, rate):
        assert rate == RATE
        c, t = mixture.shape
        number, stems = next(
            (n, stems)
            for n, stems in enumerate(self.tracks)
            if np.allclose(mixture, sum(stems.values())[:, :t], atol=1e-6)
        )
        self.calls += 1
        wrong = noise(70 + number, 10, self.error)[:c, :t]
        return {stem: audio[:, :t] + wrong for stem, audio in stems.items()}


def songs(count=2, seconds=2.0):
    return [{"vocals": noise(10 * n, seconds), "bass": noise(10 * n + 1, seconds)} for n in range(count)]


def settings(**changes) -> EvaluationSettings:
    return EvaluationSettings(
        **{"model": "tfswa_tiny", "metrics": "sdr", "pictures": 0, "workers": 1, "report": False} | changes
    )


@pytest.fixture
def run(tmp_path, make_track):
    def run(stems, plan=TWO, separate=None, **changes):
        tracks = [make_track(f"song {n}", sources) for n, sources in enumerate(stems)]
        separate = separate or Separator(stems)
        return evaluate(separate, tracks, plan, tmp_path / "out", settings=settings(**changes))

    return run


def as_they_are(root, seconds=2):
    """The two tracks that an earlier `run` wrote, their files untouched."""
    tracks = []
    for name in ("song 0", "song 1"):
        sources = {stem: Source(root / "data" / name / f"{stem}.wav") for stem in ("vocals", "bass")}
        tracks.append(Track(name, "test", RATE, round(seconds * RATE), sources))
    return tracks


def without_date(path):
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "date"}


@pytest.mark.parametrize(("evaluator", "tolerance"), [("torch", 1e-3), ("museval", 1e-9)])
def test_full_scores_are_musevals_and_readable_by_it(run, tmp_path, evaluator, tolerance):
    stems = [{stem: audio[:1] for stem, audio in song.items()} for song in songs()]
    scores = run(stems, metrics="full", evaluator=evaluator, references=("mixture",))
    record = json.loads((tmp_path / "out" / "scores.json").read_text())["metric"]
    assert record["evaluator"] == evaluator
    assert record["computed"].startswith(
        "SDR, ISR, SIR, SAR in torch" if evaluator == "torch" else "SDR, ISR, SIR, SAR by"
    )
    store = museval.EvalStore()
    store.add_eval_dir(tmp_path / "out" / "museval" / "tfswa_tiny")
    expected = store.agg_frames_tracks_scores().unstack()
    for stem in ("vocals", "bass"):
        for metric in ("SDR", "ISR", "SIR", "SAR"):
            assert scores.methods[MODEL].stems[stem].values[metric] == pytest.approx(expected[metric][stem], abs=2e-5)
    methods = museval.MethodStore()
    for name in ("tfswa_tiny", "mixture"):
        methods.add_eval_dir(tmp_path / "out" / "museval" / name)
    assert set(methods.df.method) == {"tfswa_tiny", "mixture"}
    assert set(methods.df.track) == {"song 0", "song 1"}
    estimates = Separator(stems)(sum(stems[0].values()), RATE)
    references = [audio.T for audio in stems[0].values()]
    direct = museval.evaluate(references, [estimates[stem].T for stem in stems[0]], win=RATE, hop=RATE)
    track = scores.methods[MODEL].tracks["song 0"]["vocals"]
    medians = [np.median(values[0]) for values in direct]
    assert [track[m] for m in ("SDR", "ISR", "SIR", "SAR")] == pytest.approx(medians, abs=tolerance)


def test_scores_of_one_evaluator_are_not_taken_for_the_others(run, tmp_path):
    run(songs(2, 0.5), metrics="full", references=())
    kept = tmp_path / "out" / "tracks" / "model" / "song 0.json"
    checkpoint = tmp_path / "a.ckpt"
    checkpoint.write_bytes(b"one")
    asked, prints = [], []
    for evaluator in ("torch", "museval", "museval", "torch"):
        separator = Separator(songs(2, 0.5))
        changes = {"metrics": "full", "evaluator": evaluator, "references": (), "checkpoint": checkpoint}
        evaluate(separator, as_they_are(tmp_path, 0.5), TWO, tmp_path / "out", settings=settings(**changes))
        asked.append(separator.calls)
        prints.append(json.loads(kept.read_text())["fingerprint"])
    assert asked == [2, 2, 0, 2]
    assert prints[0] == prints[3] != prints[1] == prints[2]


def test_only_museval_scores_in_processes(run, monkeypatch):
    def refuse(workers):
        raise AssertionError(f"{workers} processes")

    monkeypatch.setattr("tfswa_unet.evaluation.run.scoring_processes", refuse)
    run(songs(1, 0.5), metrics="full", references=())
    with pytest.raises(AssertionError, match="1 processes"):
        run(songs(1, 0.6), metrics="full", evaluator="museval", references=())


def test_fast_scores_say_what_they_are(run, tmp_path):
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    scores = run(
        songs(),
        checkpoint=checkpoint,
        data_root=tmp_path / "musdb18hq",
        overlap=0.25,
        segment_seconds=6.0,
        precision="bf16",
        wiener=True,
    )
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert written["checkpoint"] == {"name": "best.ckpt", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert written["tracks"] == ["song 0", "song 1"]
    assert written["stems"] == {"vocals": ["vocals"], "bass": ["bass"]}
    expected = {
        "model": "tfswa_tiny",
        "data": "musdb18hq",
        "split": "test",
        "overlap": 0.25,
        "segment_seconds": 6.0,
        "shifts": 1,
        "precision": "bf16",
        "wiener": True,
        "max_seconds": None,
    }
    assert {key: written[key] for key in expected} == expected
    assert {"metric", "commit", "versions", "date", "scores", "nan", "per_track"} <= set(written)
    assert {"torch", "museval"} <= set(written["versions"])
    assert written["metric"]["metrics"] == "sdr"
    assert "no ISR, SIR, SAR" in written["metric"]["computed"]
    model = written["scores"]["model"]
    assert set(model) == {"vocals", "bass", "average"}
    assert set(model["vocals"]) == {"SDR", "uSDR"}
    assert model["vocals"]["SDR"] == scores.methods[MODEL].stems["vocals"].values["SDR"]
    assert not (tmp_path / "out" / "museval").exists()
    for stem in ("vocals", "bass"):
        row = {name: written["scores"][name][stem]["SDR"] for name in ("model", "irm", "mixture")}
        assert row["mixture"] == pytest.approx(0, abs=1)
        assert row["irm"] > row["mixture"] + 2
        assert row["model"] > row["irm"]


def test_usdr_is_of_the_whole_track(run):
    stems = songs(1)
    found = run(stems).methods[MODEL].tracks["song 0"]["vocals"]["uSDR"]
    estimate = Separator(stems)(sum(stems[0].values()), RATE)["vocals"]
    expected = sdr(torch.from_numpy(stems[0]["vocals"]), torch.from_numpy(estimate)).item()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("metrics", ["full", "sdr"])
def test_silence_never_stops_it_and_is_counted(run, tmp_path, metrics):
    stems = [{stem: audio[:1] for stem, audio in song.items()} for song in songs(2, 3.0)]
    stems[0]["bass"][:] = 0
    stems[1]["vocals"][:, RATE : 2 * RATE] = 0

    def separate(mixture, rate):
        silent = len(tried) == 0
        tried.append(1)
        return {"vocals": 0.9 * mixture, "bass": np.zeros_like(mixture) if silent else 0.5 * mixture}

    tried: list[int] = []
    scores = run(stems, separate=separate, metrics=metrics, references=("mixture", "irm") if metrics == "sdr" else ())
    vocals, bass = (scores.methods[MODEL].stems[stem] for stem in ("vocals", "bass"))
    assert (vocals.frames, vocals.nan_frames, vocals.silent_tracks) == (6, 1, ())
    assert (bass.frames, bass.nan_frames, bass.silent_tracks) == (6, 4, ("song 0",))
    assert np.isfinite(vocals.values["SDR"])
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert written["nan"]["model"]["bass"] == {"frames": 6, "nan_frames": 4, "silent_tracks": ["song 0"]}
    assert written["per_track"]["model"]["song 0"]["bass"]["SDR"] is None


def test_everything_silent_still_gives_a_file(run, tmp_path):
    silence = {stem: np.zeros((2, RATE), np.float32) for stem in ("vocals", "bass")}
    run([silence], separate=lambda mixture, rate: silence)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]["model"]["average"]["SDR"] is None


def test_two_runs_agree_but_for_the_date(run, tmp_path):
    run(songs())
    first = without_date(tmp_path / "out" / "scores.json")
    shutil.rmtree(tmp_path / "out")
    run(songs())
    assert without_date(tmp_path / "out" / "scores.json") == first


def test_scores_are_taken_again_for_the_same_checkpoint_and_settings_only(run, tmp_path):
    checkpoint = tmp_path / "a.ckpt"
    checkpoint.write_bytes(b"one")
    stems, first = songs(), Separator(songs())
    before = run(stems, separate=first, checkpoint=checkpoint)

    def again(**changes):
        separator = Separator(stems, error=0.05)
        scores = evaluate(
            separator, as_they_are(tmp_path), TWO, tmp_path / "out", settings=settings(checkpoint=checkpoint, **changes)
        )
        return separator.calls, scores

    calls, same = again()
    assert (first.calls, calls) == (2, 0)
    assert same.methods == before.methods
    assert again(wiener=True)[0] == 2
    assert again(overlap=0.5)[0] == 2
    checkpoint.write_bytes(b"two")
    assert again(overlap=0.5)[0] == 2
    assert again(overlap=0.5)[0] == 0
    path = tmp_path / "data" / "song 1" / "bass.wav"
    os.utime(path, ns=(1, 1))
    assert again(overlap=0.5)[0] == 1
    record = tmp_path / "out" / "tracks" / "model" / "song 0.json"
    record.write_text("{ half")
    assert again(overlap=0.5)[0] == 1


def test_scores_of_older_code_are_not_taken_again(run, tmp_path, monkeypatch):
    checkpoint = tmp_path / "a.ckpt"
    checkpoint.write_bytes(b"one")
    before = run(songs(), checkpoint=checkpoint)
    scored, score_track = [], scorer.score_track
    monkeypatch.setattr(scorer, "score_track", lambda *job: scored.append(job[1]) or score_track(*job))

    def again():
        separate, tracks, out = Separator(songs()), as_they_are(tmp_path), tmp_path / "out"
        return evaluate(separate, tracks, TWO, out, settings=settings(checkpoint=checkpoint))

    assert again().methods == before.methods
    assert scored == []
    monkeypatch.setattr(scorer, "source_hash", lambda: "of other code")
    assert again().methods == before.methods
    assert scored == ["model", "mixture", "irm"] * 2


def test_without_a_checkpoint_the_model_is_always_run(run):
    stems = songs(1)
    run(stems)
    separator = Separator(stems)
    run(stems, separate=separator)
    assert separator.calls == 1


def test_max_seconds_scores_the_beginning_and_says_so(run, tmp_path):
    scores = run(songs(1, 3.0), max_seconds=2.0)
    assert scores.methods[MODEL].stems["vocals"].frames == 2
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["max_seconds"] == 2.0


def test_stems_sum_their_sources_and_the_rest_interferes(run, make_track, tmp_path):
    stems = {name: noise(n, 2.0) for n, name in enumerate(("vocals", "bass", "drums", "other"))}
    heard = []

    def separate(mixture, rate):
        heard.append(mixture)
        return {"vocals": stems["vocals"], "band": stems["bass"] + stems["drums"] + noise(9, 2.0, 0.02)}

    scores = run([stems], StemPlan((("vocals", ("vocals",)), ("band", ("bass", "drums")))), separate)
    np.testing.assert_allclose(heard[0], sum(stems.values()), atol=1e-6)
    found = scores.methods[MODEL].tracks["song 0"]
    assert set(found) == {"vocals", "band"}
    error = noise(9, 2.0, 0.02)
    expected = [
        10 * np.log10(np.sum((stems["bass"] + stems["drums"])[:, w] ** 2) / np.sum(error[:, w] ** 2))
        for w in (slice(0, RATE), slice(RATE, None))
    ]
    assert found["band"]["SDR"] == pytest.approx(np.median(expected), abs=1e-4)


def test_a_source_that_one_track_lacks_is_silent_there(run):
    stems = songs(2)
    del stems[1]["bass"]

    def separate(mixture, rate):
        return {"vocals": 0.8 * mixture, "bass": 0.2 * mixture}

    assert run(stems, separate=separate).methods[MODEL].stems["bass"].silent_tracks == ("song 1",)


def test_a_source_that_the_first_tracks_lack_is_silent_where_only_they_are_scored(run):
    stems = songs(2)
    del stems[0]["bass"]
    scores = run(stems, separate=lambda mixture, rate: {"vocals": mixture, "bass": mixture}, max_tracks=1)
    assert scores.record["tracks"] == ["song 0"]
    assert scores.methods[MODEL].stems["bass"].silent_tracks == ("song 0",)


def test_a_mono_source_among_stereo_ones_is_on_both_sides(run):
    stems = songs(1)
    stems[0]["bass"] = stems[0]["bass"][:1]
    both = {"vocals": stems[0]["vocals"], "bass": np.repeat(stems[0]["bass"], 2, axis=0)}
    found = run(stems, separate=Separator([both])).methods[MODEL].tracks["song 0"]
    estimate = torch.from_numpy(Separator([both])(sum(both.values()), RATE)["bass"])
    assert found["bass"]["uSDR"] == pytest.approx(sdr(torch.from_numpy(both["bass"]), estimate).item(), abs=1e-5)


def test_progress_counts_every_track_and_method(tmp_path, make_track):
    stems = songs()
    tracks = [make_track(f"song {n}", sources) for n, sources in enumerate(stems)]
    seen = []
    evaluate(
        Separator(stems),
        tracks,
        TWO,
        tmp_path / "out",
        settings=settings(),
        on_progress=seen.append,
    )
    assert [step.done for step in seen] == [1, 2, 3, 4, 5, 6]
    assert {(step.total, step.recalled) for step in seen} == {(6, 0)}
    assert [step.scores.track for step in seen] == ["song 0"] * 3 + ["song 1"] * 3
    assert [step.method for step in seen] == ["model", "mixture", "irm"] * 2
    seen.clear()
    evaluate(
        Separator(stems), as_they_are(tmp_path), TWO, tmp_path / "out", settings=settings(), on_progress=seen.append
    )
    assert [step.method for step in seen] == ["mixture", "irm", "mixture", "irm", "model", "model"]
    assert [step.recalled for step in seen] == [1, 2, 3, 4, 4, 4]


def test_the_first_tracks_are_drawn(run, tmp_path):
    run(songs(), pictures=1)
    assert [path.name for path in (tmp_path / "out" / "pictures").iterdir()] == ["song 0.png"]
    with Image.open(tmp_path / "out" / "pictures" / "song 0.png") as image:
        assert image.width > 1000


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        (lambda m: {"vocals": m}, "the model gives no 'bass', only vocals"),
        (lambda m: {"vocals": m, "bass": m[:, :-1]}, r"stem 'bass' of track 'song 0' has shape \(2, 7999\), expected"),
        (lambda m: {"vocals": m, "bass": m * np.nan}, "stem 'bass' of track 'song 0' holds NaN or infinite samples"),
    ],
)
def test_unusable_stems_are_refused_and_leave_no_scores(run, tmp_path, stems, message):
    with pytest.raises(ModelError, match=message):
        run(songs(1, 1.0), separate=lambda mixture, rate: stems(mixture))
    assert not (tmp_path / "out" / "scores.json").exists()
    assert not list((tmp_path / "out").glob(".estimates-*"))


def test_tracks_that_cannot_be_evaluated_are_refused(run, tmp_path, make_track):
    with pytest.raises(DataError, match="there are no tracks to evaluate"):
        run([])
    track = make_track("song", songs(1)[0])
    with pytest.raises(DataError, match="two tracks are named 'song'"):
        evaluate(Separator([]), [track, track], TWO, tmp_path / "out", settings=settings())
    with pytest.raises(ConfigError, match=r"source 'bass' of track 'song 0' belongs to more than one stem"):
        run(songs(1), StemPlan((("bass", ("bass",)), ("all", ("vocals", "bass")))))
    with pytest.raises(DataError, match=r"sources of track 'song 0' differ in their number of channels: .*'bass': 3"):
        run([{"vocals": noise(1, 1.0), "bass": noise(2, 1.0)[[0, 1, 0]]}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": "fast"}, "unknown metrics 'fast': expected one of full, sdr"),
        ({"evaluator": "matlab"}, "unknown evaluator 'matlab': expected one of torch, museval"),
        ({"evaluator": "museval"}, "evaluator=museval has no part in metrics=sdr: leave one of them out"),
        ({"references": ("wiener",)}, "unknown references 'wiener': expected one of mixture, irm"),
        ({"model": "irm"}, "model is 'irm', expected a name other than mixture, irm"),
        ({"device": "mps"}, "device is 'mps', expected cpu or cuda"),
        ({"max_seconds": 0}, "max_seconds is 0, expected more than 0 seconds"),
        ({"workers": 0}, "workers is 0, expected 1 or more"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        settings(**changes)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"checkpoint .*none\.ckpt does not exist"):
        settings(checkpoint=tmp_path / "none.ckpt")
