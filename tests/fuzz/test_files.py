"""Damaged audio files: the right output, or one sentence; FUZZ_FILES says how many."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from tests.audio.sounds import chirp
from tfswa_unet import audio
from tfswa_unet.cli import main
from tfswa_unet.inference import Separator, separate_files

COUNT = int(os.environ.get("FUZZ_FILES", "300"))
BATCH = 50
FORMATS = ("wav16", "flac16", "mp3", "ogg", "opus", "m4a")


class Halves(nn.Module):
    stems, rate, channels = ("a", "b"), 8000, 2

    def forward(self, mixture):
        return torch.stack([mixture / 2, mixture / 2], 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in FORMATS:
        for seed, seconds in enumerate((0.2, 0.5)):
            path = folder / f"{seed}{audio.FORMATS[name].extension}"
            audio.write(path, chirp(seconds, rate=8000, seed=seed), 8000, name)
    return sorted(folder.iterdir())


def damage(generator, whole):
    """An ending and the bytes of a file that is cut, flipped, joined or headed anew."""
    path = whole[generator.integers(len(whole))]
    content = bytearray(path.read_bytes())
    other = whole[generator.integers(len(whole))].read_bytes()
    for kind in generator.choice(["cut", "flip", "join", "head"], generator.integers(1, 3), replace=False):
        if kind == "cut":
            start = int(generator.integers(len(content))) if generator.random() < 0.2 else 0
            content = content[start : start + int(generator.integers(1, len(content) + 1))]
        elif kind == "flip":
            for at in generator.integers(0, min(len(content), 400 if generator.random() < 0.5 else 1 << 30), 8):
                content[at] ^= 1 << generator.integers(8)
        elif kind == "join":
            content += other
        else:
            content = bytearray(other[: generator.integers(4, 200)]) + content[generator.integers(0, 50) :]
    return path.suffix, bytes(content)


@pytest.fixture
def command(monkeypatch):
    """Run `tfswa separate` with the separator of these tests, and give its exit status and its summary."""
    separator = Separator(Halves(), device="cpu", segment_seconds=1, overlap_seconds=0.1, precision="fp32")
    monkeypatch.setattr(Separator, "load", classmethod(lambda cls, *_, **__: separator))

    def run(songs, out, capsys):
        status = main(["separate", *map(str, songs), "-o", str(out), "--model", "halves", "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_a_damaged_file_gives_its_stems_or_one_sentence(first, whole, tmp_path, command, capsys):
    done = []
    separator = Separator(Halves(), device="cpu", segment_seconds=1, overlap_seconds=0.1, precision="fp32")
    for number in range(first, min(first + BATCH, COUNT)):
        suffix, content = damage(np.random.default_rng(number), whole)
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        (result,) = separate_files(separator, [path], tmp_path / "out")
        if result.status == "done":
            done.append(path)
            length = audio.read(path).shape[1]
            stems = [audio.read(stem, allow_nonfinite=True) for stem in result.files.values()]
            assert all(stem.shape[1] == length and np.isfinite(stem).all() for stem in stems), number
        else:
            assert result.error, number
            assert "\n" not in result.error, number
            assert "unexpected" not in result.error, (number, result.error)
            assert not (tmp_path / "out" / str(number)).exists(), number
        assert not list(tmp_path.rglob(".*")), number

    songs = [*tmp_path.glob("*.*")]
    status, summary = command(songs, tmp_path / "all", capsys)
    assert {song["song"] for song in summary["songs"] if song["status"] == "done"} == {str(path) for path in done}
    assert status == (1 if len(done) < len(songs) else 0)
    if done:
        status, summary = command(done, tmp_path / "good", capsys)
        assert (status, summary["failed"]) == (0, 0)
