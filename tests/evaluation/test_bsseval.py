from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import museval
import numpy as np
import pytest
import torch

from tests.evaluation.conftest import noise
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation import bsseval
from tfswa_unet.evaluation.bsseval import METRICS, REST, TrackScores, museval_json, score
from tfswa_unet.evaluation.measures import whole_track

WINDOW = 4000


def stems(seconds=1.5):
    references = {"vocals": noise(1, seconds), "bass": noise(2, seconds)}
    return references, {name: 0.9 * audio + noise(9, seconds, 0.02) for name, audio in references.items()}


def test_scores_are_musevals_own():
    references, estimates = stems()
    scores = score("song", references, estimates, WINDOW, WINDOW, evaluator="museval")
    expected = museval.evaluate(
        [audio.T for audio in references.values()], [audio.T for audio in estimates.values()], win=WINDOW, hop=WINDOW
    )
    for metric, values in zip(METRICS, expected, strict=True):
        for stem, row in zip(references, values, strict=True):
            np.testing.assert_array_equal(scores.frames[stem][metric], row)


def test_the_fast_sdr_is_the_same_and_stands_alone():
    references, estimates = stems()
    references["bass"][:, :WINDOW] = 0
    kinds = (("full", "museval"), ("full", "torch"), ("sdr", "torch"))
    full, ours, fast = (score("song", references, estimates, WINDOW, WINDOW, *kind) for kind in kinds)
    for stem in references:
        np.testing.assert_allclose(fast.frames[stem]["SDR"], full.frames[stem]["SDR"], atol=1e-6, rtol=0)
        np.testing.assert_array_equal(fast.frames[stem]["SDR"], ours.frames[stem]["SDR"])
        assert np.isnan(full.frames[stem]["SDR"]).tolist() == [True, False, False]
        assert list(fast.frames[stem]) == ["SDR"]


@pytest.mark.parametrize("metrics", ["full", "sdr"])
@pytest.mark.parametrize("silent", ["reference", "estimate", "cancelling", "all"])
def test_stems_silent_throughout_are_left_out_and_named(silent, metrics):
    references, estimates = stems(0.8)
    if silent == "cancelling":
        references["bass"][1] = -references["bass"][0]
    elif silent != "estimate":
        references["bass"][:] = 0
    if silent in ("estimate", "all"):
        estimates["bass"][:] = 0
    if silent == "all":
        references["vocals"][:] = 0
    scores = score("song", references, estimates, WINDOW, WINDOW, metrics)
    assert scores.left_out == (("vocals", "bass") if silent == "all" else ("bass",))
    assert all(np.isnan(values).all() and len(values) == 1 for values in scores.frames["bass"].values())
    assert np.isfinite(scores.frames["vocals"]["SDR"]).all() == (silent != "all")
    unheard = {"estimate": set(), "cancelling": set(), "reference": {"bass"}, "all": {"vocals", "bass"}}[silent]
    assert {stem for stem, value in scores.whole["uSDR"].items() if np.isnan(value)} == unheard


def hard_case(name):
    """Mono stems and estimates that are all but ordinary, 1.1 s at 8 kHz."""
    references, estimates = ({stem: x[:1] for stem, x in each.items()} for each in stems(1.1))
    mixture = references["vocals"] + references["bass"]
    if name == "silent target":
        references["bass"] = np.zeros_like(mixture)
    elif name == "silent estimate":
        estimates["bass"] = np.zeros_like(mixture)
    elif name == "target":
        estimates = {stem: x.copy() for stem, x in references.items()}
    elif name == "one target":
        estimates["bass"] = references["bass"].copy()
    elif name == "mixture":
        estimates = dict.fromkeys(references, mixture)
    elif name == "one sample late":
        estimates = {stem: np.pad(x, ((0, 0), (1, 0)))[:, :-1] for stem, x in references.items()}
    elif name == "one stem":
        references.pop("bass")
    elif name == "three stems":
        references["drums"] = noise(3, 1.1)[:1]
        estimates["drums"] = 0.5 * references["drums"] + 0.1 * mixture
    elif name == "shorter than a window":
        references, estimates = ({stem: x[:, :3000] for stem, x in each.items()} for each in (references, estimates))
    elif name == "shorter than a filter":
        references, estimates = ({stem: x[:, :300] for stem, x in each.items()} for each in (references, estimates))
    return references, estimates


@pytest.mark.parametrize(
    "name",
    [
        "silent target",
        "silent estimate",
        "target",
        "one target",
        "mixture",
        "one sample late",
        "one stem",
        "three stems",
        "shorter than a window",
        "shorter than a filter",
    ],
)
def test_hard_cases_are_musevals_with_filters_of_full_length(name):
    references, estimates = hard_case(name)
    ours, theirs = (score("song", references, estimates, WINDOW, WINDOW, evaluator=e) for e in ("torch", "museval"))
    assert ours.left_out == theirs.left_out == (("bass",) if "silent" in name else ())
    for stem in references:
        for metric in METRICS:
            found, expected = ours.frames[stem][metric], theirs.frames[stem][metric]
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            # Above 100 dB museval's numbers are rounding errors, where ours may be infinite.
            perfect = (found > 100) & (expected > 100)
            np.testing.assert_allclose(
                found[~perfect], expected[~perfect], rtol=0, atol=1e-3, err_msg=f"{stem} {metric}"
            )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["three stems", "target", "mixture", "silent target", "shorter than a filter"])
def test_a_gpu_gives_the_cpus_scores(name):
    references, estimates = hard_case(name)
    on_cpu, on_gpu = (
        score("song", references, estimates, WINDOW, WINDOW, device=device).to_dict() for device in ("cpu", "cuda")
    )
    for stem in references:
        for metric in METRICS:
            found, expected = (np.array(each["frames"][stem][metric], float) for each in (on_gpu, on_cpu))
            perfect = (found > 100) & (expected > 100)
            np.testing.assert_allclose(found[~perfect], expected[~perfect], rtol=0, atol=1e-3)
    further = [whole_track(references, estimates, 8000, device) for device in ("cpu", "cuda")]
    for measure, values in further[0].items():
        np.testing.assert_allclose([*further[1][measure].values()], [*values.values()], atol=1e-2, err_msg=measure)


def test_a_singular_system_falls_back_to_least_squares(monkeypatch):
    fits, fit = [], np.linalg.lstsq
    monkeypatch.setattr(np.linalg, "lstsq", lambda *arguments: fits.append(1) or fit(*arguments))
    # Two equal trains of impulses make museval's matrix exactly singular.
    impulse = np.zeros((1, 6000), np.float32)
    impulse[:, ::1024] = 1
    references = {"a": impulse, "b": impulse.copy()}
    estimates = {name: audio * 0.5 for name, audio in references.items()}
    scores = score("song", references, estimates, 3000, 3000, evaluator="museval")
    assert fits
    assert scores.frames["a"]["SDR"] == pytest.approx([20 * np.log10(2)] * 2, abs=1e-6)


def test_the_rest_takes_part_and_is_not_reported():
    references, estimates = stems()
    interference = {"vocals": estimates["vocals"] + 0.3 * references["bass"]}
    alone = score("song", {"vocals": references["vocals"]}, interference, WINDOW, WINDOW)
    whole = score(
        "song",
        {"vocals": references["vocals"], REST: references["bass"]},
        interference | {REST: estimates["bass"]},
        WINDOW,
        WINDOW,
    )
    assert list(whole.frames) == list(whole.whole["uSDR"]) == ["vocals"]
    np.testing.assert_allclose(whole.frames["vocals"]["SDR"], alone.frames["vocals"]["SDR"], atol=1e-9)
    # Without the interferer to project on, all of it would pass for artifacts.
    assert (whole.frames["vocals"]["SAR"] > alone.frames["vocals"]["SAR"] + 3).all()
    assert (whole.frames["vocals"]["SIR"] < 15).all()


def test_json_is_musevals_own(tmp_path):
    references, estimates = stems()
    estimates["bass"][:, :WINDOW] = 0
    text = museval_json(score("song", references, estimates, WINDOW, WINDOW), 0.5, 0.5)

    targets = {name: SimpleNamespace(audio=audio.T) for name, audio in references.items()}
    track = SimpleNamespace(name="song", subset="test", rate=8000, targets=targets)
    given = {name: audio.T for name, audio in estimates.items()}
    museval.eval_mus_track(track, given, output_dir=tmp_path, win=0.5, hop=0.5)
    found, expected = (json.loads(each) for each in (text, (tmp_path / "test" / "song.json").read_text()))
    numbers = [frame["metrics"].pop(m) for each in (found, expected) for frame in _frames(each) for m in METRICS]
    np.testing.assert_allclose(*np.split(np.array(numbers), 2), atol=1e-3)
    assert found == expected
    assert found["targets"][1]["frames"][1]["time"] == 0.5


def test_json_rounds_as_museval_does():
    values = np.array([1.000005, -2.5e-6, 2.675e-3, 1 / 3, np.nan, np.inf, -np.inf, 1e9])
    scores = TrackScores("song", {"vocals": {metric: values - number for number, metric in enumerate(METRICS)}}, {})
    store = museval.TrackStore("song", win=1.0, hop=0.5)
    store.add_target("vocals", scores.frames["vocals"])
    found, expected = (json.loads(text) for text in (museval_json(scores, 1.0, 0.5), store.json))
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _frames(stored):
    return [frame for target in stored["targets"] for frame in target["frames"]]


def test_nothing_but_museval_itself_needs_museval(monkeypatch):
    monkeypatch.setitem(sys.modules, "museval", None)
    references, estimates = stems(0.6)
    scores = score("song", references, estimates, WINDOW, WINDOW)
    assert np.isfinite(scores.frames["vocals"]["SIR"]).all()
    assert json.loads(museval_json(scores, 0.5, 0.5))["targets"][0]["name"] == "vocals"
    with pytest.raises(ConfigError, match="museval cannot be imported"):
        score("song", references, estimates, WINDOW, WINDOW, evaluator="museval")


def test_a_missing_museval_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "museval", None)
    with pytest.raises(ConfigError, match=r"museval cannot be imported .* or set evaluator=torch"):
        bsseval.load_museval()


def test_round_trip_through_json_is_exact():
    frames = {"vocals": {"SDR": np.array([1 / 3, np.nan, np.inf, -np.inf, -1e-300])}}
    scores = TrackScores("a song", frames, {"uSDR": {"vocals": 0.1 + 0.2}}, ("vocals",), -40.5)
    text = json.dumps(scores.to_dict(), allow_nan=False)
    back = TrackScores.from_dict(json.loads(text))
    np.testing.assert_array_equal(back.frames["vocals"]["SDR"], frames["vocals"]["SDR"])
    assert (back.track, back.whole, back.left_out) == (scores.track, scores.whole, scores.left_out)
    assert back.null_error == -40.5
