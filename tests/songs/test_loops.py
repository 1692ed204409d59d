from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.cli import main
from tfswa_unet.data import load_tracks
from tfswa_unet.errors import AudioError, DataError
from tfswa_unet.songs import parse_bpm, write_songs
from tfswa_unet.songs.samples import divide, scan


def hashes(out):
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*.wav"))
    }


def test_songs_are_musdb18hq_songs_whose_mixture_is_the_sum(tmp_path, library):
    out = tmp_path / "songs"
    assert write_songs(library, out, 3, 4, 0) == ("vocals", "drums", "bass", "other")
    tracks = load_tracks("auto", out)
    assert [(t.name, t.split, t.rate, t.length) for t in tracks] == [
        ("loops-00001", "train", 44_100, 4 * 44_100),
        ("loops-00002", "train", 44_100, 4 * 44_100),
        ("loops-00003", "valid", 44_100, 4 * 44_100),
    ]
    for track in tracks:
        stems = [audio.read(source.path) for source in track.sources.values()]
        mixture = audio.read(track.mixture.path)
        np.testing.assert_array_equal(np.sum(stems, axis=0), mixture)
        assert 0 < np.abs(mixture).max() <= 0.9 + 4 / 2**15
        assert all(np.abs(stem).max() > 0.01 for stem in stems)
    assert not [path for path in out.rglob(".*")]


def test_the_seed_makes_the_songs_and_levels_and_samples_differ(tmp_path, library):
    write_songs(library, tmp_path / "a", 3, 2, 0)
    write_songs(library, tmp_path / "b", 3, 2, 0, workers=2)
    write_songs(library, tmp_path / "c", 3, 2, 1)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert not set(hashes(tmp_path / "a").values()) & set(hashes(tmp_path / "c").values())
    assert len(set(hashes(tmp_path / "a").values())) == 15


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, library):
    out, told = tmp_path / "songs", []
    write_songs(library, out, 3, 2, 0)
    whole, keep = hashes(out), out / "train" / "loops-00001" / "bass.wav"
    kept = keep.stat().st_mtime_ns
    (out / "train" / "loops-00002" / "bass.wav").unlink()
    left = out / "train" / ".loops-00002-x"
    left.mkdir()
    os.utime(left, (0, 0))
    write_songs(library, out, 3, 2, 0, on_progress=lambda *at: told.append(at))
    assert told == [(2, 3), (3, 3)]
    assert hashes(out) == whole
    assert keep.stat().st_mtime_ns == kept
    assert not left.exists()


def test_songs_that_validate_have_samples_of_their_own(library):
    train, valid = divide(scan(library), 0)
    for stem in train:
        assert len(train[stem]) == 2
        assert len(valid[stem]) == 1
        assert not set(train[stem]) & set(valid[stem])


def test_other_settings_or_samples_are_refused_in_the_same_folder(tmp_path, library, write_wav):
    out = tmp_path / "songs"
    write_songs(library, out, 1, 1, 0)
    with pytest.raises(DataError, match=r"songs holds other songs from loops, seed 0 where 1 is asked for: choose"):
        write_songs(library, out, 1, 1, 1)
    write_wav(library / "drums" / "more.wav", np.zeros((1, 100)), 8_000)
    with pytest.raises(DataError, match="holds other songs from loops, samples "):
        write_songs(library, out, 1, 1, 0)
    (out / "loops.json").write_text("{")
    with pytest.raises(DataError, match=r"loops\.json cannot be read as JSON"):
        write_songs(library, out, 1, 1, 0)
    with pytest.raises(DataError, match=r"holds files that are no songs from loops \(there is no loops\.json\)"):
        write_songs(library, library, 1, 1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"songs": 0}, "0 songs were asked for"),
        ({"seconds": 0.5}, "a song of 0.5 s cannot be made"),
        ({"seed": -1}, "the seed is -1"),
        ({"bpm": (140, 90)}, "tempos from 140 to 90 bpm were asked for; give a range within 40-240"),
        ({"workers": 0}, "0 workers"),
        ({"seconds": 1e9}, "GB free: ask for fewer or shorter songs"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_made(tmp_path, library, change, message):
    with pytest.raises(DataError, match=message):
        write_songs(library, tmp_path / "songs", **{"songs": 1, "seconds": 1, "seed": 0, **change})
    assert not (tmp_path / "songs").exists()


def test_samples_that_are_missing_or_broken_are_named(tmp_path, library, write_wav):
    with pytest.raises(DataError, match="nowhere is not a folder: give one that holds vocals/, drums/, bass/, other/"):
        scan(tmp_path / "nowhere")
    write_wav(tmp_path / "one" / "drums" / "a.wav", np.zeros((1, 10)))
    with pytest.raises(DataError, match="one has samples for only drums/: put audio files into at least two"):
        scan(tmp_path / "one")
    (library / "bass" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"bass/broken\.wav"):
        write_songs(library, tmp_path / "songs", 1, 1, 0)
    assert not (tmp_path / "songs").exists()


def test_tempos_are_a_range_or_one():
    assert parse_bpm("90-140") == (90, 140)
    assert parse_bpm(" 87.5 ") == (87.5, 87.5)
    for text in ("fast", "90-", "-90", "90 140"):
        with pytest.raises(DataError, match="give a range such as 90-140, or one tempo such as 120"):
            parse_bpm(text)


def test_the_command_says_how_to_train(tmp_path, library, capsys):
    out = tmp_path / "songs"
    command = ["data", "loops", str(library), str(out), "--songs", "1", "--seconds", "1", "--bpm", "100"]
    assert main(command) == 0
    assert json.loads((out / "loops.json").read_text())["slowest"] == 100
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == (f"1 song with vocals, drums, bass, other in {out}; train on them: python train.py data.root={out}")
    assert main([*command, "--bpm", "fast"]) == 1
    assert capsys.readouterr().err.startswith("error: the tempos are 'fast'")


def test_songs_of_fewer_stems_are_folders(tmp_path, library, capsys):
    for path in (library / "vocals").iterdir():
        path.unlink()
    assert main(["data", "loops", str(library), str(tmp_path / "out"), "--songs", "2", "--seconds", "1"]) == 0
    assert "train.py data=folders data.root=" in capsys.readouterr().out
    assert list(load_tracks("folders", tmp_path / "out", "train")[0].sources) == ["bass", "drums", "other"]
