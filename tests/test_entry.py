"""train.py and eval.py as a user runs them: what is wrong is one sentence, status 1, and nothing is left behind."""

import errno
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tfswa_unet.config import choice
from tfswa_unet.data import data_sets
from tfswa_unet.errors import ConfigError, StoppedError

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


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("~/songs", "'data.root=\"~/songs\"'"),
        ("/müsik/süß", "'data.root=\"/müsik/süß\"'"),
        ("/a (1)", "'data.root=\"/a (1)\"'"),
        ("/a=b", "'data.root=\"/a=b\"'"),
        ("/a#b", "'data.root=\"/a#b\"'"),
        ("/it's", "'data.root=\"/it'\"'\"'s\"'"),
    ],
)
def test_a_value_that_hydra_cannot_read_is_named_with_what_to_write(trained_with, value, written):
    with pytest.raises(SystemExit) as left:
        trained_with("model=tfswa_tiny", f"data.root={value}")
    said = f"the value in data.root={value} cannot be read as it stands: write {written}, quotes included"
    assert left.value.code == f"error: {said}"
    (word,) = shlex.split(written)
    root = str(Path.home() / "songs") if value.startswith("~") else value
    assert trained_with("model=tfswa_tiny", word)["data"]["root"] == root


def test_a_value_with_a_comma_is_told_from_several_values(trained_with):
    with pytest.raises(SystemExit) as left:
        trained_with("model=tfswa_tiny", "data.root=/a,b")
    assert left.value.code == (
        "error: data.root=/a,b names several values where one is expected: add -m for a run with each, or write "
        "'data.root=\"/a,b\"', quotes included, for one value with commas in it"
    )
    assert trained_with("model=tfswa_tiny", 'data.root="/a,b"')["data"]["root"] == "/a,b"


def test_an_override_that_is_none_is_named(trained_with):
    with pytest.raises(SystemExit, match=r"error: the override optimizer\.lr cannot be read: expected KEY=VALUE"):
        trained_with("model=tfswa_tiny", "optimizer.lr")


def test_home_is_found_in_every_path(trained_with, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = trained_with("model=tfswa_tiny", "paths.runs='~/runs'", "resume='~/last.ckpt'")
    assert given["paths"]["runs"] == str(tmp_path / "home" / "runs")
    assert given["resume"] == str(tmp_path / "home" / "last.ckpt")


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
    monkeypatch.setattr("tfswa_unet.training.fit.fit", lambda values, folder: given.append(values))

    def run(*overrides):
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides, "hydra.run.dir=run"])
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        return given.pop()

    return run


def test_one_data_set_is_itself_and_several_strategies_combine(trained_with):
    values = trained_with("data=moisesdb", "strategy=[ddp,bf16]")
    assert list(values["data"]["sets"]) == ["moisesdb"]
    assert (values["strategy"]["kind"], values["strategy"]["precision"]) == ("ddp", "bf16-mixed")


def test_several_data_sets_are_chosen_each_with_its_own_options(trained_with):
    several = "data=[musdb18hq,medleydb,moisesdb]"
    data = trained_with(several, "strategy=[ddp,bf16]", "data.seconds=3", "data.sets.moisesdb.weight=2")["data"]
    alone = {name: choice("data", name)["sets"][name] for name in ("musdb18hq", "medleydb", "moisesdb")}
    assert alone["medleydb"]["options"]["bleed"] != alone["moisesdb"]["options"]["bleed"]
    alone["moisesdb"]["weight"] = 2
    assert data.pop("sets") == alone
    assert data == {key: value for key, value in trained_with("data.seconds=3")["data"].items() if key != "sets"}


def test_songs_to_be_made_are_one_of_several_data_sets(trained_with):
    sets = trained_with("data=[synthetic,musdb18hq]", "data.sets.synthetic.make.tracks=5")["data"]["sets"]
    assert sets["synthetic"]["make"]["tracks"] == 5
    assert "make" not in sets["musdb18hq"]


@pytest.mark.parametrize(
    ("given", "checkpoint", "going_on"),
    [
        (["data.root=/a b"], "/runs/last.ckpt", "'data.root=/a b' hydra.run.dir=run resume=/runs/last.ckpt"),
        (["resume=/older.ckpt"], "/runs/last.ckpt", "hydra.run.dir=run resume=/runs/last.ckpt"),
        ([], "/müsik (1)/last.ckpt", "hydra.run.dir=run 'resume=\"/müsik (1)/last.ckpt\"'"),
    ],
)
def test_a_stop_gives_the_whole_command_that_goes_on(trained_with, monkeypatch, capsys, given, checkpoint, going_on):
    def stopped(*_):
        raise StoppedError("stopped by SIGTERM after step 3", Path(checkpoint), 15)

    monkeypatch.setattr("tfswa_unet.training.fit.fit", stopped)
    with pytest.raises(SystemExit) as left:
        trained_with(*given)
    assert left.value.code == 143
    said = f"error: stopped by SIGTERM after step 3: go on with python {ROOT / 'train.py'} {going_on}\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), "error: /runs/x cannot be written (No space"),
        (OSError(errno.EROFS, "Read-only file system", "/runs/x"), "error: /runs/x cannot be written (Read-only file"),
        (KeyboardInterrupt(), "error: interrupted: start it again"),
    ],
)
def test_a_full_disk_and_an_interrupt_anywhere_are_one_sentence(trained_with, monkeypatch, capsys, error, sentence):
    def failing(*_):
        raise error

    monkeypatch.setattr("tfswa_unet.training.fit.fit", failing)
    with pytest.raises(SystemExit) as left:
        trained_with()
    assert sentence in f"{left.value.code}{capsys.readouterr().err}"


def test_a_folder_that_may_not_be_made_is_one_sentence(trained_with, monkeypatch):
    def mkdir(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/runs/x")

    def reading(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/songs/x")

    monkeypatch.setattr("tfswa_unet.training.fit.fit", mkdir)
    with pytest.raises(SystemExit) as left:
        trained_with()
    told = "error: /runs/x cannot be written (Permission denied): name another folder, hydra.run.dir=FOLDER"
    assert left.value.code == told
    monkeypatch.setattr("tfswa_unet.training.fit.fit", reading)
    with pytest.raises(PermissionError):
        trained_with()


def test_errors_that_are_the_programs_keep_their_traceback(trained_with, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("tfswa_unet.training.fit.fit", broken)
    with pytest.raises(ValueError, match="a bug"):
        trained_with()


@pytest.mark.parametrize(("key", "value"), [("root", "elsewhere"), ("kind", "auto")])
def test_what_each_data_set_has_for_itself_is_not_set_for_several(trained_with, key, value):
    data = trained_with("data=[musdb18hq,dsd100]", f"data.{key}={value}")["data"]
    with pytest.raises(ConfigError) as refused:
        data_sets(data)
    assert str(refused.value) == (
        f"data.{key} cannot be for several data sets at once, and musdb18hq, dsd100 are chosen: "
        f"set data.sets.musdb18hq.{key} or data.sets.dsd100.{key} instead"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data.options.grouping=six", "data.options is data.sets.NAME.options now"),
        ("data.make.tracks=3", "data.make is data.sets.NAME.make now"),
        ("data.mixture=[]", "data.mixture is data.sets now"),
    ],
)
def test_a_key_that_moved_is_named(trained_with, old, new):
    with pytest.raises(SystemExit) as stopped:
        trained_with("data=moisesdb", old)
    assert str(stopped.value).endswith(f"; {new}")
    assert "\n" not in str(stopped.value)


def test_an_unknown_data_set_among_several_is_refused(trained_with):
    with pytest.raises(SystemExit, match="data/nothing"):
        trained_with("data=[musdb18hq,nothing]")


def test_an_experiment_may_choose_several_data_sets(trained_with, tmp_path):
    (tmp_path / "experiment").mkdir()
    experiment = "# @package _global_\ndefaults:\n  - override /data: [musdb18hq, dsd100]\n"
    (tmp_path / "experiment" / "two.yaml").write_text(experiment)
    data = trained_with(f"--config-dir={tmp_path}", "experiment=two")["data"]
    assert list(data_sets(data)) == ["musdb18hq", "dsd100"]


def test_several_data_sets_are_scored_together(tmp_path, monkeypatch):
    given = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfswa_unet.evaluation.run.score_checkpoint", given.append)
    monkeypatch.setattr(sys, "argv", ["eval.py", "data=[musdb18hq,dsd100]", "ckpt=model.safetensors"])
    runpy.run_path(str(ROOT / "eval.py"), run_name="__main__")
    (values,) = given
    assert list(values["data"]["sets"]) == ["musdb18hq", "dsd100"]


def test_a_sweep_is_given_its_settings_its_command_and_a_folder_that_stays(tmp_path, monkeypatch):
    given = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfswa_unet.training.sweep.sweep", lambda *arguments: given.append(arguments))
    command = ["train.py", "model=tfswa_tiny", "sweep=optuna", "sweep.space.optimizer.lr.high=1e-2", "paths.runs=r"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    ((values, words, folder),) = given
    assert values["sweep"]["space"]["optimizer"]["lr"] == {"low": 1e-4, "high": 1e-2, "log": True}
    assert words == command
    assert folder == tmp_path / "r" / "sweep" / "tfswa_tiny"


@pytest.mark.parametrize(
    ("words", "scored"),
    [
        (["ckpt=a", "out=x"], [("a", "x")]),
        (["-m", "ckpt=a,b"], [("a", None), ("b", None)]),
        (["-m", "ckpt=a,b", "out=x"], [("a", "x/0"), ("b", "x/1")]),
    ],
)
def test_each_of_several_models_is_scored_into_a_folder_of_its_own(tmp_path, monkeypatch, words, scored):
    asked = []
    monkeypatch.setattr("tfswa_unet.evaluation.run.score_checkpoint", asked.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eval.py", *words])
    runpy.run_path(str(ROOT / "eval.py"), run_name="__main__")
    assert [(each["ckpt"], each["out"]) for each in asked] == scored
    assert {path.name for path in tmp_path.iterdir()} <= {"runs"}
