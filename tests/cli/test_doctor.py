import json

import numpy as np
import pytest
import soundfile

from tfswa_unet.cli import main


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
    root = tmp_path / "moises"
    stems = [
        {"stemName": stem, "tracks": [{"id": "1", "extension": "wav", "has_bleed": stem == "guitar"}]}
        for stem in ("vocals", "guitar")
    ]
    for name in ("clean", "bleeding"):
        tracks = stems if name == "bleeding" else stems[:1]
        for stem in tracks:
            (root / name / stem["stemName"]).mkdir(parents=True)
            noise = np.random.default_rng(0).uniform(-0.1, 0.1, (16_000, 2))
            soundfile.write(root / name / stem["stemName"] / "1.wav", noise, 8_000)
        (root / name / "data.json").write_text(json.dumps({"song": name, "artist": "x", "stems": tracks}))
    counted = []
    for options in ([], ["--option", "bleed=false"]):
        doctor(root, "--json", *options)
        told = json.loads(capsys.readouterr().out)
        counted.append((told["kind"], told["songs"], told["files"]))
    assert counted == [("moisesdb", 2, 3), ("moisesdb", 1, 1)]
