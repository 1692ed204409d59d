"""The examples, each run as a command in a small form."""

import math
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import torch

from tests.commands import run
from tests.small import OVERRIDES
from tfswa_unet import Separator, audio, models
from tfswa_unet.bundle import save_bundle

ROOT = Path(__file__).parents[2]
# What this example's own arguments set is left to them.
SMALL = [setting for setting in OVERRIDES if not setting.startswith("trainer.max_epochs")]


def test_train_and_separate(tmp_path):
    arguments = ["--out", "made", "--seconds", "1", "--songs", "3", "--song-seconds", "1", *SMALL]
    done = run(ROOT / "examples" / "train_and_separate.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.strip().splitlines()]
    assert rows[0] == ["SDR,", "dB", "stem", "mixture"]
    assert [row[0] for row in rows[1:]] == ["vocals", "drums", "bass", "other"]
    assert all(math.isfinite(float(number)) for row in rows[1:] for number in row[1:])
    stems = sorted(path.name for path in (tmp_path / "made" / "stems").iterdir())
    assert stems == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    assert (tmp_path / "made" / "model.safetensors").is_file()


def test_separate_in_blocks(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    config = models.preset("tfswa_tiny")
    network = {"widths": [16, 16], "depths": [1, 1], "mlp_ratios": [1.0, 1.0], "head_width": 8}
    model = models.build({**config, "network": {**config["network"], **network}}).eval()
    save_bundle(tmp_path / "model.safetensors", model)
    audio.write(tmp_path / "song.wav", 0.1 * np.random.default_rng(0).standard_normal((2, 60_000)), 44_100)
    words = ["song.wav", "bass.wav", "--model", "model.safetensors", "--stem", "bass", "--segment", "0.6"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["separate_in_blocks.py", *words])
    runpy.run_path(str(ROOT / "examples" / "separate_in_blocks.py"), run_name="__main__")
    late, announced = map(float, re.findall(r"\d+\.\d+", capsys.readouterr().out))
    assert 0.5 < late <= announced + 0.1
    whole = Separator(model, "cpu", 0.6, 0.1).separate("song.wav")["bass"]
    np.testing.assert_allclose(audio.read("bass.wav"), whole, atol=1e-4)
