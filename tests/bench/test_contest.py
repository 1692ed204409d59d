import json
import re

import pytest
import torch

from tests.bench.conftest import TRIAL
from tests.small import STEMS, write_songs
from tfswa_unet.bench import contest, trial
from tfswa_unet.bench.networks import SMALL
from tfswa_unet.bench.results import MissingPackage
from tfswa_unet.cli import main


@pytest.fixture(autouse=True)
def _networks(fake_peers, small_presets):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("contest")


def _arguments(place, *more):
    return ["bench", "contest", *TRIAL, "--data", str(place / "songs"), "--out", str(place / "contest.json"), *more]


def test_one_after_the_other(place, capsys):
    assert main(_arguments(place, "--only", "openunmix", "--json")) == 0
    first = json.loads(capsys.readouterr().out)["results"]
    assert list(first) == ["mixture", "openunmix"]

    assert main(_arguments(place)) == 0
    printed = capsys.readouterr()
    results = json.loads((place / "contest.json").read_text())
    others = ["tfswa_tiny", "tfswa_base", "htdemucs", "bs_roformer"]
    assert list(results["results"]) == ["mixture", "openunmix", *others]
    assert results["results"]["openunmix"] == first["openunmix"]  # not trained again
    assert "openunmix:" not in printed.err
    ours_and_theirs = {"tfswa_tiny": 2e-3, "tfswa_base": 2e-3, "openunmix": 1e-2, "htdemucs": 1e-2, "bs_roformer": 3e-3}
    assert results["settings"]["lr"] == ours_and_theirs

    ours, theirs = results["results"]["tfswa_tiny"], results["results"]["htdemucs"]
    for record in (ours, theirs):
        assert record["seconds"] >= 0.6
        assert record["audio_seconds"] == pytest.approx(record["steps"] * 2 * 0.2)
        assert set(record["scores"]) == {*STEMS, "average"}
    better = max(theirs["all_ways"].values(), key=lambda scores: scores["average"]["SDR"])
    assert theirs["scores"] == better
    assert set(theirs["all_ways"]) == {"silence", "itself"}
    assert theirs["parameters"] == 4

    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.out.splitlines() if "│" in line]
    row = next(cells for cells in lines if cells[0] == "htdemucs")
    average = theirs["scores"]["average"]
    assert row[4] == "SDR"
    assert row[-1] == f"{average['SDR']:.2f}"
    after = lines[lines.index(row) + 1]
    assert (after[0], after[4], after[-1]) == ("", "uSDR", f"{average['uSDR']:.2f}")


def test_other_settings_do_not_mix(place, capsys):
    main(_arguments(place, "--only", "openunmix"))
    capsys.readouterr()
    assert main(_arguments(place, "--lr", "openunmix=0.1")) == 1
    error = capsys.readouterr().err
    assert re.search(r"results under other settings.*lr .*give another --out, or delete it", error)


@pytest.mark.parametrize(("itself", "best"), [(0.0, "itself"), (-2.0, "silence"), (None, "silence")])
def test_the_best_way_counts_and_nought_is_a_score(tmp_path, itself, best, monkeypatch):
    averages = iter([-9.0, -1.0, itself])  # of the mixture, silence and itself
    for module in (contest, trial):
        monkeypatch.setattr(module, "score_songs", lambda *_: {"average": {"SDR": next(averages), "uSDR": 0.0}})
    assert main(_arguments(tmp_path, "--only", "openunmix", "--json")) == 0
    assert json.loads((tmp_path / "contest.json").read_text())["results"]["openunmix"]["separated_by"] == best


def test_a_data_set_of_ones_own_is_trained_on_and_scored(tmp_path, capsys):
    root = write_songs(tmp_path / "own", samples=66_150)
    again = ["--dataset", str(root), "--only", "openunmix"]
    assert main(_arguments(tmp_path, *again)) == 0
    assert not (tmp_path / "songs").exists()
    results = json.loads((tmp_path / "contest.json").read_text())
    assert results["settings"]["dataset"] == str(root)
    assert results["results"]["openunmix"]["status"] == "measured"
    capsys.readouterr()
    assert main(_arguments(tmp_path, "--dataset", str(tmp_path / "other"), "--only", "openunmix")) == 1
    assert "results under other settings" in capsys.readouterr().err


@pytest.mark.parametrize("splits", [["train"], ["test"]])
def test_a_data_set_without_songs_to_train_on_or_to_score_is_refused(tmp_path, splits, capsys):
    root = write_songs(tmp_path / "own", [(split, "a") for split in splits], samples=66_150)
    assert main(_arguments(tmp_path, "--dataset", str(root))) == 1
    told = f"error: {root} has no songs that train, or none that test or validate: give a data set with both\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "demucs"], r"unknown --only 'demucs' \(did you mean htdemucs\?\)"),
        (["--lr", "umx=1"], "unknown contestant in --lr 'umx'"),
        (["--lr", "htdemucs=fast"], r"--lr htdemucs=fast: expected name=number, such as htdemucs=3e-4"),
        (["--lr", "htdemucs=0"], "--lr 0: expected a number above 0"),
        (["--loss", "l1"], "unknown loss 'l1'"),
        (["--minutes", "0"], "--minutes 0: expected a number above 0"),
        (["--workers", "-1"], r"--workers -1: expected 0 \(the training process loads\) or more"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, arguments, message, capsys):
    assert main(_arguments(tmp_path, *arguments)) == 1
    assert re.match(f"error: {message}", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_the_others_compete_where_a_package_is_missing_or_training_fails(tmp_path, monkeypatch, capsys):
    whole = SMALL["htdemucs"]

    def missing(stems):
        raise MissingPackage("no such package")

    monkeypatch.setitem(SMALL, "htdemucs", missing)
    assert main(_arguments(tmp_path, "--only", "htdemucs")) == 1
    assert not (tmp_path / "songs").exists()
    monkeypatch.setattr(trial, "train", _failing(trial.train, "openunmix"))
    assert main(_arguments(tmp_path, "--json")) == 1
    printed = capsys.readouterr()
    results = json.loads(printed.out[printed.out.index("{") :])["results"]
    assert results["htdemucs"] == {"status": "failed", "reason": "no such package"}
    assert results["openunmix"]["status"] == "failed"
    assert results["tfswa_tiny"]["status"] == "measured"
    told = printed.err.splitlines()
    assert told.index("htdemucs: failed: no such package") < next(n for n, line in enumerate(told) if "songs:" in line)

    monkeypatch.undo()
    monkeypatch.setitem(SMALL, "htdemucs", whole)
    assert main(_arguments(tmp_path, "--only", "htdemucs")) == 0
    again = json.loads((tmp_path / "contest.json").read_text())["results"]
    assert again["htdemucs"]["status"] == "measured"
    assert again["tfswa_tiny"] == results["tfswa_tiny"]


def _failing(train, which):
    def stand_in(*given):
        if given[-1] == which:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(*given)

    return stand_in
