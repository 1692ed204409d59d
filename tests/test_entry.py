"""train.py and eval.py as a user runs them: what is wrong is one sentence, status 1, and nothing is left behind."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tfswa_unet.config import choice

ROOT = Path(__file__).parents[1]


def _run(script, *arguments, cwd):
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("train.py", ["model=tfswa_huge"], "model/tfswa_huge"),
        ("train.py", ["optimizer.learning_rate=1"], "optimizer.learning_rate"),
        ("train.py", ["data.root=nowhere"], "data=synthetic"),
        ("train.py", ["data=null"], "choices are written GROUP=NAME, such as model=tfswa_base"),
        ("eval.py", [], "ckpt"),
        ("eval.py", ["ckpt=gone.ckpt"], "gone.ckpt: no such bundle or checkpoint"),
    ],
)
def test_mistakes_end_with_one_sentence(tmp_path, script, arguments, sentence):
    done = _run(script, *arguments, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert lines[-1].startswith("error: ")
    assert len(lines) == 1, done.stderr
    assert sentence in lines[0]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_help_lists_the_groups(tmp_path):
    done = _run("train.py", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("tfswa_base", "vocals_accompaniment", "musdb18hq", "strong", "cosine", "checkpoint", "wandb"):
        assert name in done.stdout


@pytest.fixture
def trained_with(tmp_path, monkeypatch):
    """Run train.py with overrides in this process and give what it would train with."""
    given = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfswa_unet.training.builder.fit", lambda values, folder: given.append(values))

    def run(*overrides):
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides, "hydra.run.dir=run"])
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        return given.pop()

    return run


def test_one_data_set_is_itself_and_several_strategies_combine(trained_with):
    values = trained_with("data=moisesdb", "strategy=[ddp,bf16]")
    assert values["data"]["kind"] == "moisesdb"
    assert "mixture" not in values["data"]
    assert (values["strategy"]["kind"], values["strategy"]["precision"]) == ("ddp", "bf16-mixed")


def test_several_data_sets_are_their_mixture(trained_with):
    data = trained_with("data=[musdb18hq,medleydb,moisesdb]", "strategy=[ddp,bf16]", "data.seconds=3")["data"]
    options = {name: choice("data", name)["options"] for name in ("medleydb", "moisesdb")}
    assert options["medleydb"]["bleed"] != options["moisesdb"]["bleed"]  # what a merge would lose
    assert data.pop("mixture") == [
        {"name": "musdb18hq", "kind": "musdb18hq", "root": "data/musdb18hq"},
        *({"name": name, "kind": name, "root": f"data/{name}", "options": options[name]} for name in options),
    ]
    assert (data.pop("kind"), data.pop("root")) == ("mixture", "musdb18hq+medleydb+moisesdb")
    alone = trained_with("data.seconds=3")["data"]
    assert data == {key: value for key, value in alone.items() if key not in ("kind", "root")}


def test_songs_that_are_made_are_made_where_they_are_read(trained_with):
    data = trained_with("data=[synthetic,musdb18hq]")["data"]
    assert data["make"]["tracks"] > 0
    assert data["root"] == data["mixture"][0]["root"] == "data/synthetic"


def test_errors_that_are_the_programs_keep_their_traceback(trained_with, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("tfswa_unet.training.builder.fit", broken)
    with pytest.raises(ValueError, match="a bug"):
        trained_with()


@pytest.mark.parametrize("own", ["data.root=elsewhere", "+data.options.grouping=six", "data.kind=auto"])
def test_what_each_data_set_has_for_itself_is_not_set_for_several(trained_with, own):
    with pytest.raises(SystemExit) as stopped:
        trained_with("data=[musdb18hq,dsd100]", own)
    assert str(stopped.value) == (
        "error: several data sets are chosen, each with a kind, root and options of its own: to set those, write "
        "data=mixture 'data.mixture=[{kind: musdb18hq, root: data/musdb18hq}, {kind: dsd100, root: data/dsd100}]'"
    )


def test_an_unknown_data_set_among_several_is_refused(trained_with):
    with pytest.raises(SystemExit, match="data/nothing"):
        trained_with("data=[musdb18hq,nothing]")


def test_an_experiment_with_several_data_sets_is_told_of_mixtures(trained_with, tmp_path):
    (tmp_path / "experiment").mkdir()
    experiment = "# @package _global_\ndefaults:\n  - override /data: [musdb18hq, dsd100]\n"
    (tmp_path / "experiment" / "two.yaml").write_text(experiment)
    with pytest.raises(SystemExit, match=r"write data=mixture 'data\.mixture=\[\{kind: musdb18hq, root: A\}"):
        trained_with(f"--config-dir={tmp_path}", "experiment=two")


def test_several_data_sets_are_scored_as_their_mixture(tmp_path, monkeypatch):
    given = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfswa_unet.evaluation.run.score_checkpoint", given.append)
    monkeypatch.setattr(sys, "argv", ["eval.py", "data=[musdb18hq,dsd100]", "ckpt=model.safetensors"])
    runpy.run_path(str(ROOT / "eval.py"), run_name="__main__")
    (values,) = given
    assert [each["kind"] for each in values["data"]["mixture"]] == ["musdb18hq", "dsd100"]
    assert values["data"]["kind"] == "mixture"
