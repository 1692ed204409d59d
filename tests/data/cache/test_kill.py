"""Builds that are killed, and builds that meet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.small import write_songs
from tfswa_unet import audio
from tfswa_unet.data import load_tracks
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.cache.pcm import is_whole, read_pcm

BUILD = """
import sys
from tfswa_unet.data import load_tracks
from tfswa_unet.data.cache import PcmCache
if __name__ == "__main__":
    songs, folder, workers = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    cache = PcmCache(folder, 44_100, 2)
    tracks = load_tracks("auto", songs, "train")
    cache.build(tracks, workers=int(workers), on_progress=lambda *told: print(*told, flush=True))
"""


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    names = [("train", f"song {k}") for k in range(8)]
    return write_songs(tmp_path_factory.mktemp("data") / "songs", [*names, ("valid", "v")], samples=100_000)


def start(songs, folder, workers):
    script = folder.parent / "build.py"
    script.write_text(BUILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, script, songs, folder, str(workers)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout.readline() == "ready\n"
    return child


def go(*children):
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()


def check_all(songs, folder):
    """Complete the cache; every stem in it is that of its song. Gives how many were missing."""
    cached = PcmCache(folder, 44_100, 2).build(load_tracks("auto", songs, "train"), workers=1)
    for track, original in zip(cached.tracks, load_tracks("auto", songs, "train"), strict=True):
        for name, source in track.sources.items():
            read = read_pcm(source.path, 0, track.length)
            np.testing.assert_array_equal(read, audio.read(original.sources[name].path))
    return cached.made


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_leaves_no_broken_file_and_is_gone_on_with(tmp_path, songs, workers):
    folder = tmp_path / "c"
    child = start(songs, folder, workers)
    go(child)
    for line in child.stdout:
        if line.startswith("decoding 5 "):
            break
    child.kill()
    assert child.wait() == -9
    made = sorted(folder.glob("[!.]*.tfpcm"))
    assert 5 <= len(made) < 32
    assert all(is_whole(path) for path in made)
    assert 0 < check_all(songs, folder) <= 32 - 5


def test_two_builds_at_once_give_one_good_cache(tmp_path, songs):
    folder = tmp_path / "c"
    children = [start(songs, folder, 1) for _ in range(2)]
    go(*children)
    outputs = [child.communicate(timeout=300)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert all("decoding" in output for output in outputs)
    assert len(list(folder.iterdir())) == 32 + 1
    assert all(is_whole(path) for path in folder.glob("*.tfpcm"))
    assert check_all(songs, folder) == 0
