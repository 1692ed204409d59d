import json

import pytest

from tests.bench.conftest import ARGUMENTS
from tests.small import STEMS
from tfswa_unet.bench import contest
from tfswa_unet.errors import ConfigError


@pytest.fixture(autouse=True)
def _networks(fake_peers, small_presets):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("contest")


def _arguments(place, *more):
    return [*ARGUMENTS, "--data", str(place / "songs"), "--out", str(place / "contest.json"), *more]


def test_one_after_the_other(place, capsys):
    assert contest.main(_arguments(place, "--only", "openunmix", "--json")) == 0
    first = json.loads(capsys.readouterr().out)["results"]
    assert list(first) == ["mixture", "openunmix"]

    assert contest.main(_arguments(place)) == 0
    printed = capsys.readouterr()
    results = json.loads((place / "contest.json").read_text())
    assert list(results["results"]) == ["mixture", "openunmix", "tfswa_tiny", "htdemucs"]
    assert results["results"]["openunmix"] == first["openunmix"]  # not trained again
    assert "openunmix:" not in printed.err
    assert results["settings"]["lr"] == {"tfswa_tiny": 2e-3, "openunmix": 1e-3, "htdemucs": 1e-3}

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


def test_other_settings_do_not_mix(place):
    contest.main(_arguments(place, "--only", "openunmix"))
    with pytest.raises(ConfigError, match=r"results under other settings.*lr .*give another --out, or delete it"):
        contest.main(_arguments(place, "--lr", "openunmix=0.1"))


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
def test_mistakes_are_told_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        contest.main(_arguments(tmp_path, *arguments))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def absent(stems):
        raise ConfigError("no such package")

    monkeypatch.setitem(contest.SMALL, "htdemucs", absent)
    with pytest.raises(ConfigError, match="no such package"):
        contest.main(_arguments(tmp_path))
    assert not list(tmp_path.iterdir())
