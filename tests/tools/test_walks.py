"""How much of the package one has to open to follow a song, a batch or a configuration through it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_FILES = {"song → stems": 30, "batch → loss": 15, "configuration → run": 30, "the whole package": 215}


@pytest.fixture(scope="module")
def printed():
    """What tools/walks.py prints, in a process of its own: what others left in caches would not be entered."""
    command = [sys.executable, "tools/walks.py", "--list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("walk", MOST_FILES)
def test_a_walk_enters_few_files(printed, walk):
    (files,) = re.findall(rf"^{walk} .*?(\d+)$", printed, re.MULTILINE)
    assert 0 < int(files) <= MOST_FILES[walk], printed


@pytest.mark.parametrize("entered", ["cli/separate.py: .*run", "losses.py: .*objective", "builder.py: build_run"])
def test_what_a_walk_enters_is_listed(printed, entered):
    assert re.search(entered, printed), printed


def test_the_numbers_are_those_of_the_list(printed):
    for walk in [name for name in MOST_FILES if "→" in name]:
        functions, files, listed = re.search(rf"^{walk} +(\d+) +(\d+)\n((?:  .*\n)+)", printed, re.MULTILINE).groups()
        assert int(files) == len(listed.splitlines())
        assert int(functions) == sum(len(line.split(", ")) for line in listed.splitlines())
