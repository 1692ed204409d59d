import json
import re
import shlex
from pathlib import Path

import pytest

from tests.small import write_songs
from tfswa_unet import cli
from tfswa_unet.cli import main
from tfswa_unet.cli.data import cache, synth
from tfswa_unet.data.cache import DEFAULT_FOLDER


def test_synth_makes_songs_and_says_how_to_train(tmp_path, capsys):
    out = tmp_path / "songs"
    assert main(["data", "synth", str(out), "--tracks", "1", "--seconds", "1", "--seed", "5", "--workers", "1"]) == 0
    assert (out / "train" / "song-0001" / "mixture.wav").is_file()
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"1 song in {out}; train on them: python train.py data.root={out}"


def test_a_refusal_is_one_line(tmp_path, capsys):
    assert main(["data", "synth", str(tmp_path / "songs"), "--seconds", "0"]) == 1
    assert capsys.readouterr().err == "error: a synthetic song of 0 s cannot be made; give at least 1 s\n"


def test_cache_decodes_what_trains_and_validates_and_says_how_to_train_on_it(tmp_path, capsys):
    songs = write_songs(tmp_path / "songs", samples=1_000)
    command = ["data", "cache", str(songs), "--out", str(tmp_path / "c"), "--workers", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out == (
        f"12 stems of 3 songs in {tmp_path / 'c'}, 0.0 GB, 12 of them made now; "
        f"train on them: python train.py data.root={songs} data.cache={tmp_path / 'c'}\n"
    )
    assert main([*command, "--json", "--verify"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("seconds") >= 0
    assert told == {"cache": str(tmp_path / "c"), "tracks": 3, "stems": 12, "made": 0, "gigabytes": 0.0}


def test_cache_refuses_in_one_line(tmp_path, capsys):
    songs = write_songs(tmp_path / "songs", samples=1_000)
    command = ["data", "cache", str(songs), "--out", str(tmp_path / "c")]
    assert main([*command, "--max-gb", "0.00001"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: The cache {tmp_path / 'c'} needs 0.00 GB more")
    assert main([*command, "--kind", "wavs"]) == 1
    assert "unknown data.kind 'wavs'" in capsys.readouterr().err
    songs = write_songs(tmp_path / "test only", [("test", "a")], samples=1_000)
    assert main(["data", "cache", str(songs)]) == 1
    assert "has songs to test with only" in capsys.readouterr().err


def test_the_cache_of_the_command_is_where_training_looks():
    assert cli.parser().parse_args(["data", "cache", "songs"]).out == DEFAULT_FOLDER
    paths = (Path(__file__).parents[2] / "conf" / "paths" / "default.yaml").read_text()
    assert re.search(rf"^cache: {DEFAULT_FOLDER}\b", paths, re.MULTILINE)


@pytest.mark.parametrize("module", [synth, cache])
def test_every_example_parses(module):
    for line in module.EXAMPLES.splitlines():
        args = cli.parser().parse_args(shlex.split(re.split(r"\s{3,}", line.strip())[0])[1:])
        assert args.act is module.run
