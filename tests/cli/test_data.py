import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.small import write_samples, write_songs
from tfswa_unet.cli import main, parser
from tfswa_unet.cli.data import parse_options
from tfswa_unet.data import data_sets, load_data
from tfswa_unet.data.cache import DEFAULT_FOLDER, PcmCache
from tfswa_unet.data.sets.layouts import COLUMNS
from tfswa_unet.songs.recordings import PIECES

CONF = Path(__file__).parents[2] / "conf"


def test_synth_makes_songs_and_says_how_to_train(tmp_path, capsys):
    out = tmp_path / "songs"
    assert main(["data", "synth", str(out), "--tracks", "1", "--seconds", "1", "--seed", "5", "--workers", "1"]) == 0
    assert (out / "train" / "song-0001" / "mixture.wav").is_file()
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"1 song in {out}; train on them: python train.py data.root={out}"


def test_a_refusal_is_one_line(tmp_path, capsys):
    assert main(["data", "synth", str(tmp_path / "songs"), "--seconds", "0"]) == 1
    assert capsys.readouterr().err == "error: a song of 0 s cannot be made; give at least 1 s\n"


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


def test_cache_takes_several_data_sets_and_training_draws_from_their_mixture(tmp_path, capsys):
    hq = write_songs(tmp_path / "hq", samples=1_000)
    own = write_songs(tmp_path / "own", [("train", "x"), ("valid", "y")], samples=1_100)
    shutil.copy(own / "train" / "x" / "bass.wav", own / "train" / "x" / "tuba.wav")
    out = tmp_path / "c"
    assert main(["data", "cache", str(hq), str(own), "--out", str(out), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert told == (
        f"20 stems of 5 songs in {out}, 0.0 GB, 20 of them made now; train on them: python train.py "
        f"'data=[musdb18hq,folders]' data.sets.musdb18hq.root={hq} data.sets.folders.root={own} data.cache={out}\n"
    )  # of 21 files two are the same
    data = composed(told)
    cache = PcmCache(data["cache"], 44_100, 2)
    tracks = load_data(data_sets(data), "train", probe=cache.probe)
    assert [(track.collection, track.name) for track in tracks] == [
        ("musdb18hq", "a"),
        ("musdb18hq", "b"),
        ("folders", "x"),
    ]
    assert cache.build(tracks).made == 0


def composed(told):
    """The data configuration of the command that is told."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        data = compose("train", shlex.split(told.partition("train.py ")[2])).data
    return OmegaConf.to_container(data, resolve=False)


def test_cache_names_a_second_data_set_of_one_kind(tmp_path, capsys):
    roots = [str(write_songs(tmp_path / name, samples=1_000)) for name in ("one", "two")]
    assert main(["data", "cache", *roots, "--out", str(tmp_path / "c"), "--workers", "1"]) == 0
    sets = data_sets(composed(capsys.readouterr().out))
    assert {name: each.root for name, each in sets.items()} == {"musdb18hq": roots[0], "musdb18hq_2": roots[1]}


def moisesdb(root):
    """Two songs, one of them with a stem of guitar, which only six stems keep and which bleeds."""
    for name, stems in {"clean": ("vocals",), "bleeding": ("vocals", "guitar")}.items():
        described = [
            {"stemName": stem, "tracks": [{"id": "1", "extension": "wav", "has_bleed": stem == "guitar"}]}
            for stem in stems
        ]
        for stem in stems:
            (root / name / stem).mkdir(parents=True)
            noise = np.random.default_rng(0).uniform(-0.1, 0.1, (16_000, 2))
            soundfile.write(root / name / stem / "1.wav", noise, 44_100)
        (root / name / "data.json").write_text(json.dumps({"song": name, "artist": "x", "stems": described}))
    return root


def test_cache_reads_a_data_set_with_its_options(tmp_path, capsys):
    songs, out = moisesdb(tmp_path / "moises"), tmp_path / "c"
    command = ["data", "cache", str(songs), "--out", str(out), "--workers", "1", "--option"]
    assert main([*command, "grouping=six", "--option", "bleed=false"]) == 0
    assert capsys.readouterr().out.endswith(
        f"train on them: python train.py data=moisesdb data.root={songs} "
        f"data.sets.moisesdb.options.grouping=six data.sets.moisesdb.options.bleed=false data.cache={out}\n"
    )
    assert main([*command, "grouping=seven"]) == 1
    assert "unknown data.sets.moisesdb.options.grouping 'seven'" in capsys.readouterr().err


def test_options_are_read_as_yaml():
    assert parse_options(None) == {}
    assert parse_options(["grouping=six", "bleed=false", "instruments={kazoo: other}", "grouping=all"]) == {
        "grouping": "all",
        "bleed": False,
        "instruments": {"kazoo": "other"},
    }


@pytest.mark.parametrize("text", ["grouping", "=six", "grouping=", "instruments={kazoo: other"])
def test_an_option_that_is_none_is_refused(tmp_path, capsys, text):
    assert main(["data", "cache", str(tmp_path), "--option", text]) == 1
    expected = f"error: --option {text!r} cannot be read: expected KEY=VALUE such as grouping=six\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("action", ["cache", "doctor"])
def test_an_option_that_the_data_set_does_not_take_is_refused(tmp_path, capsys, action):
    songs = write_songs(tmp_path / "songs", samples=1_000)
    assert main(["data", action, str(songs), "--option", "grouping=six"]) == 1
    expected = "error: unknown option data.sets.musdb18hq.options.grouping: it takes no options\n"
    assert capsys.readouterr().err == expected


def test_the_cache_of_the_command_is_where_training_looks():
    assert parser(["data"]).parse_args(["data", "cache", "songs"]).out == DEFAULT_FOLDER
    paths = (CONF / "paths" / "default.yaml").read_text()
    assert re.search(rf"^cache: {DEFAULT_FOLDER}\b", paths, re.MULTILINE)


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path / "samples")


def render(samples, out, *options):
    command = ["data", "render", samples, out, "--songs", "2", "--seconds", "1", "--workers", "1", *options]
    return main([str(word) for word in command])


def test_render_makes_songs_shows_what_it_does_and_says_how_to_train(samples, tmp_path, capsys):
    out = tmp_path / "songs"
    assert render(samples, out) == 0
    told = capsys.readouterr()
    assert told.out == f"2 songs in {out}; train on them: python train.py data.root={out}\n"
    assert re.search(r"examining .*5/5", told.err)
    assert re.search(r"rendering .*2/2", told.err)
    assert sorted(path.parent.name for path in out.glob("*/*/mixture.wav")) == ["render-00001", "render-00002"]


def test_render_s_help_names_the_layout(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["data", "render", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for part in ("bass/upright/pizz_034_v80.wav", "drums/studio/kick_01.wav", *PIECES, *COLUMNS):
        assert part in told
    assert "tfswa data render samples songs --midi midi" in told


def test_render_refuses_in_one_line(samples, tmp_path, capsys):
    out = tmp_path / "songs"
    for options, message in (
        (("--seconds", "0"), "a song of 0 s cannot be made; give at least 1 s"),
        (("--midi", samples), "holds no MIDI files: give a folder of .mid files, or leave it out"),
    ):
        assert render(samples, out, *options) == 1
        assert re.fullmatch(rf"error: .*{re.escape(message)}\n", capsys.readouterr().err.lstrip())
    assert render(tmp_path / "nowhere", out) == 1
    assert "nowhere is not a folder: give one that holds vocals/, drums/, bass/, other/" in capsys.readouterr().err
    soundfile.write(samples / "drums/studio/kick_02.wav", np.zeros(9_000), 44_100)
    assert render(samples, out) == 1
    told = f"error: {samples / 'drums/studio/kick_02.wav'} is silent or not finite: leave it out"
    assert capsys.readouterr().err.splitlines()[-1] == told
    assert not out.exists()


def test_render_leaves_out_what_cannot_be_used(samples, tmp_path, caplog):
    soundfile.write(samples / "drums/studio/kick_02.wav", np.zeros(9_000), 44_100)
    assert render(samples, tmp_path / "songs", "--on-error", "skip") == 0
    assert "kick_02.wav is silent or not finite: leave it out" in caplog.text


@pytest.fixture
def songs(tmp_path):
    """Two songs of noise; one stem of the second is silent."""
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "songs" / "train" / name).mkdir(parents=True)
        for stem in ("voice", "piano"):
            noise = rng.uniform(-0.1, 0.1, (16_000, 2)) * (0 if name + stem == "bpiano" else 1)
            soundfile.write(tmp_path / "songs" / "train" / name / f"{stem}.wav", noise, 8_000)
    return tmp_path / "songs"


def doctor(*args):
    return main(["data", "doctor", *map(str, args), "--workers", "1"])


def test_warnings_alone_pass_but_for_strict(songs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert doctor(songs) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "silent" in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == [
        "warning",
        "valid/b" if "valid/b" in row else "train/b",
        "piano",
        "is silent from start to end",
    ]
    assert shown.splitlines()[-1] == "2 songs of kind folders, 4 files, 0.00 h of audio: 0 errors, 1 warning"
    assert doctor(songs, "--strict") == 1


def test_a_clean_set_prints_no_table(songs, capsys):
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (16_000, 2))
    soundfile.write(songs / "train" / "b" / "piano.wav", noise, 8_000)
    assert doctor(songs, "--strict") == 0
    assert capsys.readouterr().out.strip() == "2 songs of kind folders, 4 files, 0.00 h of audio: 0 errors, 0 warnings"


def test_errors_fail_and_their_files_are_listed(songs, tmp_path, capsys):
    (songs / "train/a/voice.wav").write_bytes(b"no audio")
    listed = tmp_path / "bad.txt"
    assert doctor(songs, "--fix-list", listed) == 1
    assert listed.read_text() == f"{songs / 'train/a/voice.wav'}\n"
    assert doctor(songs, "--fix-list", listed, "--strict") == 1
    assert listed.read_text().splitlines() == [f"{songs}/train/a/voice.wav", f"{songs}/train/b/piano.wav"]
    assert "unreadable" not in capsys.readouterr().err


def test_json_is_all_that_is_printed(songs, capsys):
    assert doctor(songs, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["songs"], told["files"], told["errors"], told["warnings"]) == ("folders", 2, 4, 0, 1)
    assert told["findings"][0]["check"] == "silent"
    assert (told["findings"][0]["track"], told["findings"][0]["stem"]) == ("b", "piano")


def test_refusals_are_one_line(songs, tmp_path, capsys):
    assert doctor(tmp_path / "nowhere") == 1
    expected = f"error: {tmp_path / 'nowhere'} does not exist: give the folder that holds the data set's songs\n"
    assert capsys.readouterr().err == expected
    assert doctor(songs, "--fix-list", tmp_path / "no" / "bad.txt") == 1
    assert "its folder does not exist: make it first, or choose another" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_data_set_is_examined_with_its_options(tmp_path, capsys):
    root = moisesdb(tmp_path / "moises")
    counted = []
    for options in ([], ["--option", "bleed=false"]):
        doctor(root, "--json", *options)
        told = json.loads(capsys.readouterr().out)
        counted.append((told["kind"], told["songs"], told["files"]))
    assert counted == [("moisesdb", 2, 3), ("moisesdb", 1, 1)]
