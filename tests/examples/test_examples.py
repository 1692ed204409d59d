"""The examples, each run as a command in a small form."""

import math
import os
import subprocess
import sys
from pathlib import Path

from tests.small import OVERRIDES

ROOT = Path(__file__).parents[2]
# What this example's own arguments set is left to them.
SMALL = [setting for setting in OVERRIDES if not setting.startswith("trainer.max_epochs")]


def test_train_and_separate(tmp_path):
    arguments = ["--out", "made", "--seconds", "1", "--songs", "3", "--song-seconds", "1", *SMALL]
    command = [sys.executable, str(ROOT / "examples" / "train_and_separate.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.strip().splitlines()]
    assert rows[0] == ["SDR,", "dB", "stem", "mixture"]
    assert [row[0] for row in rows[1:]] == ["vocals", "drums", "bass", "other"]
    assert all(math.isfinite(float(number)) for row in rows[1:] for number in row[1:])
    stems = sorted(path.name for path in (tmp_path / "made" / "stems").iterdir())
    assert stems == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    assert (tmp_path / "made" / "model.safetensors").is_file()
