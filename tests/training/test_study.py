"""Studies train and score what is not scored yet, and lay it out."""

import csv
import json

import pytest

from tfswa_unet.config import compose_values, from_values
from tfswa_unet.data.tracks import Make
from tfswa_unet.errors import ConfigError, RunError
from tfswa_unet.songs.synthetic import make_recipe
from tfswa_unet.training.study import study

# In place of train.py and eval.py: they note their arguments, fail where the file `act` says so, and score by width.
TRAIN = """
import json, sys
from pathlib import Path
given = {key: value.strip('"') for key, value in (word.split("=", 1) for word in sys.argv[1:])}
if given["width"] == Path(__file__).with_name("act").read_text():
    sys.exit("error: no such song")
with Path(__file__).with_name("said.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
checkpoints = Path(given["hydra.run.dir"]) / "checkpoints"
checkpoints.mkdir(exist_ok=True)
(checkpoints / given.get("writes", "best.ckpt")).write_text(given["stem"] + given["width"])
"""
EVAL = """
import json, sys
from pathlib import Path
given = {key: value.strip('"') for key, value in (word.split("=", 1) for word in sys.argv[1:])}
with Path(__file__).with_name("said.jsonl").open("a") as file:
    file.write(json.dumps(["eval", *sys.argv[1:]]) + "\\n")
stem, width = (lambda text: (text[:-1], float(text[-1])))(Path(given["ckpt"]).read_text())
score = None if width == 9 else width
rows = {each: {"SDR": score, "uSDR": -1.0} for each in (stem, "average")}
record = {"model": "m", "split": "test", "data": "d", "metric": {}, "tracks": [], "scores": {"model": rows}}
Path(given["out"]).mkdir()
(Path(given["out"]) / "scores.json").write_text(json.dumps(record | {"per_track": {"model": {}}}))
"""
PARTS = {"first": ["stem=vocals"], "second": ["stem=bass"]}
ROWS = {"narrow": ["width=1"], "wide + deep": ["width=3"]}


@pytest.fixture
def start(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "eval.py").write_text(EVAL)

    def run(*words, act="", **settings):
        (tmp_path / "act").write_text(act)
        config = {"name": "x", "metric": "SDR", "parts": PARTS, "rows": ROWS, "evaluate": ["data.root=songs"]}
        values = {"trainer": {"num_nodes": 1}, "resume": None, "study": {**config, **settings}}
        return study(values, [str(tmp_path / "train.py"), "study=x", *words], tmp_path / "out")

    return run


def said(folder):
    return [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]


def test_every_row_and_part_is_trained_scored_and_laid_out(start, tmp_path, capsys):
    assert start("seed=3", "study.metric=SDR") == 3.0
    first, scored, *_ = said(tmp_path)
    assert first == ["stem=vocals", "width=1", "seed=3", f"hydra.run.dir={_place(tmp_path)}", "resume=auto"]
    assert scored[:2] == ["eval", "data.root=songs"]
    assert scored[2].endswith('checkpoints/best.ckpt"') or scored[2].endswith("checkpoints/best.ckpt")
    assert len(said(tmp_path)) == 8
    rows = list(csv.reader((tmp_path / "out" / "table.csv").open()))
    assert rows == [
        ["row", "vocals", "bass", "average"],
        ["narrow", "1.0", "1.0", "1.0"],
        ["wide + deep", "3.0", "3.0", "3.0"],
    ]
    assert (tmp_path / "out" / "table.png").read_bytes().startswith(b"\x89PNG")
    assert [
        line.split()[-3:] for line in capsys.readouterr().out.splitlines() if line.strip().startswith("narrow")
    ] == [["1.00", "1.00", "1.00"]]


def _place(folder):
    return folder / "out" / "narrow" / "first"


def test_a_study_that_failed_goes_on_with_what_is_missing(start, tmp_path):
    with pytest.raises(RunError, match=r"wide \+ deep, first failed with status 1: no such song; all it said is in"):
        start(act="3")
    assert len(said(tmp_path)) == 4
    assert not (tmp_path / "out" / "table.csv").exists()
    start()
    assert [words[1] for words in said(tmp_path)[4:] if words[0] != "eval"] == ["width=3"] * 2
    start()
    assert len(said(tmp_path)) == 8


def test_a_row_without_parts_or_a_validation_is_one_training_by_its_last_state(start, tmp_path):
    assert start(parts={}, rows={"a": ["stem=drums", "width=2", "writes=last.ckpt"]}) == 2.0
    assert "last.ckpt" in said(tmp_path)[1][2]
    assert (tmp_path / "out" / "a" / "scores" / "scores.json").exists()


def test_what_has_no_score_is_left_empty(start, tmp_path):
    start(parts={}, rows={"a": ["stem=drums", "width=9"]})
    assert list(csv.reader((tmp_path / "out" / "table.csv").open()))[1] == ["a", "", ""]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": {}}, "study.rows is empty"),
        ({"rows": {"a/b": ["width=1"]}}, "row or part 'a/b', expected a name that a folder can have"),
        ({"metric": "SIR"}, "study.metric is 'SIR', expected one of SDR, uSDR"),
        ({"metric": "sdr"}, "unknown study.metric 'sdr'"),
    ],
)
def test_a_study_that_cannot_be_is_refused(start, settings, message):
    with pytest.raises(ConfigError, match=message):
        start(**settings)


def test_a_folder_keeps_to_the_overrides_it_began_with(start):
    start()
    with pytest.raises(ConfigError, match="holds a training by other overrides"):
        start("seed=4")


@pytest.mark.parametrize(("name", "kinds"), [("paper_table2", 9), ("paper_table3", 6)])
def test_the_papers_tables_are_trainings_that_there_are(name, kinds):
    given = compose_values("train", [f"study={name}", "data.root=/songs"])["study"]
    assert given["evaluate"] == ["data.root=/songs"]
    rows, parts = list(given["rows"].values()), list((given["parts"] or {"": []}).values())
    trainings = [[*parts[0], *row] for row in rows] + [[*part, *rows[0]] for part in parts[1:]]
    made = [compose_values("train", words) for words in trainings]
    # The paper's own network stands in table 3 once for each thing that is varied.
    assert len({json.dumps([values["model"], values["stems"]]) for values in made}) == kinds


def test_the_study_of_pretraining_compares_like_with_like():
    given = compose_values("train", ["study=pretraining"])["study"]
    (common,) = given["parts"].values()
    made = {name: compose_values("train", [*common, *row]) for name, row in given["rows"].items()}
    for songs in (3, 10, 40):
        scratch, pretrained = (made[f"{songs} songs, {how}"] for how in ("from scratch", "pre-trained"))
        assert {key for key in scratch if scratch[key] != pretrained[key]} == {"init_from"}
        assert scratch["init_from"] is None
        make = from_values(Make, scratch["data"]["sets"]["synthetic"]["make"], "make")
        recipe = make_recipe(make.tracks, make.seconds, make.seed, make.test_tracks, make.band)
        assert [recipe.split(number) for number in range(recipe.count)].count("train") == songs
        assert scratch["trainer"]["max_steps"] == 400
