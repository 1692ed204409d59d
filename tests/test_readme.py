"""The README's commands, each run as it stands there, on small songs with a small model."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run
from tests.small import OVERRIDES, write_songs
from tfswa_unet import audio
from tfswa_unet.bundles import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0]
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    if line.startswith(("tfswa ", "python ", "make "))
]
# In the order in which one needs the other's files.
VERBS = ("synth", "train", "tfswa runs", "eval", "tfswa results", "bundle", "separate")
# `tfswa`, its packaged models replaced by those below the working folder.
TFSWA = """
import sys
from pathlib import Path
from tfswa_unet import bundles, cli
bundles.FOLDER = Path("bundles")
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the README's commands name: songs, a song.mp3, and what earlier commands left."""
    folder = tmp_path_factory.mktemp("readme")
    write_songs(folder / "musdb18hq", samples=66_150)
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 66_150)).astype(np.float32)
    (folder / "bundles").mkdir()
    audio.write(folder / "song.mp3", sound, 44_100, "mp3")
    return folder


def _run(command, place):
    """Run a README line, its placeholders filled in and its sizes made small."""
    words = shlex.split(command.replace("/data/musdb18hq", str(place / "musdb18hq")))
    checkpoints = sorted(place.glob("runs/tfswa_base/*/checkpoints/best.ckpt"))
    words = [re.sub(r"runs/tfswa_base/…/checkpoints/best\.ckpt", str(checkpoints[-1:]).strip("[]"), w) for w in words]
    if words[:2] == ["tfswa", "separate"] and "--model" not in words:
        shutil.copy(place / "model.safetensors", place / "bundles" / f"{DEFAULT_MODEL}.safetensors")
    words = [re.sub(r"PosixPath\('(.*)'\)", r"\1", word) for word in words]
    if words[0] == "tfswa":
        (place / "tfswa").write_text(TFSWA)
        words = [str(place / "tfswa"), *words[1:]]
    else:
        words = [str(ROOT / words[1]), *words[2:]]
    if "synth" in command:
        words[words.index("--seconds") + 1] = "2"
    elif "fast_finetune" in command:
        words += ["trainer.max_epochs=1", "trainer.accelerator=cpu", "data.samples_per_epoch=1", "data.batch_size=1"]
    elif "train.py" in command:
        words += [*OVERRIDES, "augmentation=none", f"data.root={place / 'musdb18hq'}"]
    if "train.py -m" in command:  # two runs of its four
        words.remove("optimizer.lr=1e-3,3e-4")
    if "eval.py" in command:
        words += ["device=cpu", "segment=1.0", "overlap=0.2", "workers=1"]
    if "runs/band" in command and "eval.py" in command:
        words += ["pictures=0", "report=false"]
    if "separate" in command:
        words += ["--segment", "1", "--overlap", "0.2", "--device", "cpu"]
    done = run(*words, cwd=place)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_train_evaluate_bundle_separate(place):
    commands = [command for command in COMMANDS if not command.startswith("make")]
    in_order = sorted(commands, key=lambda command: VERBS.index(_verb(command)))
    printed = {command: _run(command, place) for command in in_order}
    assert {_verb(command) for command in printed} == set(VERBS)
    assert (place / "sweep.html").read_text().count("<tr><td>") == 2
    assert len(list(place.glob("runs/sweep/*/*/checkpoints/last.ckpt"))) == 2
    assert len(list(place.glob("runs/tfswa_base/*/checkpoints/*/scores.json"))) == 1
    assert 'class="model"' in (place / "results.html").read_text()
    stems = {path.name: audio.probe(path) for path in (place / "stems" / "song").iterdir()}
    assert sorted(stems) == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    assert {info.length for info in stems.values()} == {audio.probe(place / "song.mp3").length}


def _verb(command):
    return next(verb for verb in VERBS if verb in command)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(document):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", (ROOT / document).read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_tree_names_what_is_there():
    tree = next(block for _, block in BLOCKS if block.startswith("tfswa_unet/"))
    named = set(re.findall(r"^  (\S+)", tree, re.MULTILINE))
    present = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "tfswa_unet").iterdir()
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    }
    assert named == present


def test_the_python_example(place):
    from tfswa_unet import Separator, load

    example = next(block for language, block in BLOCKS if language == "python")
    assert 'Separator(load("model.safetensors"))' in example
    sound, rate = audio.read(place / "song.mp3")[:, :30_000], 44_100
    stems = Separator(load(place / "model.safetensors"), segment_seconds=1, overlap_seconds=0.2).separate(sound, rate)
    assert {name: stem.shape for name, stem in stems.items()} == dict.fromkeys(stems, sound.shape)
