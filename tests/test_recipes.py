"""The recipes of CONTRIBUTING.md, followed as they stand there in a copy of the package."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.small import OVERRIDES, STEMS, write_songs

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = {
    title: section
    for title, section in re.findall(r"^### (?:An|A) ([\w ]+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
}
FILE = re.compile(r"^(New file|At the end of) `(\S+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _files(recipe):
    """(path, whether it is new, what is written) of each file of a recipe."""
    return [(path, way == "New file", text) for way, path, text in FILE.findall(RECIPES[recipe])]


def _overrides(recipe):
    (command,) = re.findall(r"`python train\.py ([^`]+)`", RECIPES[recipe])
    return command.split()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what training needs, in which all recipes have been followed."""
    root = tmp_path_factory.mktemp("recipes")
    for name in ("tfswa_unet", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for recipe in RECIPES:
        for path, is_new, text in _files(recipe):
            assert (root / path).exists() != is_new, path
            before = "" if is_new else (root / path).read_text() + "\n\n"
            (root / path).write_text(before + text)
    return root


@pytest.fixture(scope="module")
def run(copy, tmp_path_factory):
    """The folder of a run of one step with all that the recipes added."""
    songs, root = write_songs(tmp_path_factory.mktemp("songs"), samples=22_050), copy / "flat"
    root.mkdir()
    for song in songs.glob("*/*"):
        for stem in STEMS:
            shutil.copy(song / f"{stem}.wav", root / f"{song.name} - {stem}.wav")
    overrides = [word.replace("/data/flat", str(root)) for recipe in RECIPES for word in _overrides(recipe)]
    small = ["data.samples_per_epoch=2", "trainer.log_every_n_steps=1", "logger=csv", "hydra.run.dir=run"]
    command = [sys.executable, "train.py", *overrides, *OVERRIDES, *small]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return copy / "run"


def test_there_are_four_recipes():
    assert list(RECIPES) == ["augmentation", "loss term", "mask", "data set"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_touches_one_file_of_python_and_one_of_yaml(recipe):
    assert [Path(path).suffix for path, _, _ in _files(recipe)] == [".py", ".yaml"]


def test_all_that_the_recipes_add_trains(run):
    config = OmegaConf.load(run / "config.yaml")
    assert list(config.augmentation) == ["gain", "channel_swap", "polarity", "noise"]
    assert "waveform_huber" in config.loss
    assert config.model.mask == "double"
    assert list(config.data.sets) == ["flat"]
    with open(run / "csv" / "metrics.csv") as file:
        assert any(row.get("train/waveform_huber") for row in csv.DictReader(file))
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_the_recipes_are_clean_code(copy):
    changed = [path for recipe in RECIPES for path, _, _ in _files(recipe) if path.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", *changed]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout


def test_the_files_that_are_named_exist():
    new = {path for recipe in RECIPES for path, is_new, _ in _files(recipe) if is_new}
    named = set(re.findall(r"`((?:tfswa_unet|tests|tools|conf)/[\w./]+)`", TEXT))
    assert named
    assert not {path for path in named - new if not (ROOT / path).exists()}
