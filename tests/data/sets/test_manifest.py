from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import noise
from tfswa_unet.data import load_tracks
from tfswa_unet.data.reading import read_source
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.errors import AudioError, DataError

RATE = 8_000


@pytest.fixture
def table(tmp_path, write_wav):
    """Write lines as songs.csv, beside audio/a.wav … d.wav of 400 samples."""
    for seed, name in enumerate("abcd"):
        write_wav(tmp_path / "audio" / f"{name}.wav", noise(seed, 2, 400))

    def write(*lines, header="track,stem,path"):
        path = tmp_path / "songs.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return path

    return write


def test_rows_make_tracks_and_rows_of_one_stem_are_summed(table, tmp_path):
    path = table(
        "x,drums,audio/a.wav", "x, drums ,audio/b.wav", "x,mixture,audio/c.wav", f"y,flute,{tmp_path}/audio/d.wav"
    )
    assert detect(path) == "manifest"
    y, x = load_tracks("auto", path, "train") + load_tracks("manifest", path, "valid")
    assert (y.name, list(y.sources), x.name, list(x.sources)) == ("y", ["flute"], "x", ["drums"])
    np.testing.assert_allclose(read_source(x.sources["drums"], 0, 400), noise(0, 2, 400) + noise(1, 2, 400), atol=1e-7)
    assert x.mixture.path == tmp_path / "audio" / "c.wav"


def test_start_and_duration_cut_a_stretch(table):
    path = table(
        "x,a,audio/a.wav,test,0.01,0.025", "x,b,audio/b.wav,test,0.025,", header="track,stem,path,split,start,duration"
    )
    [track] = load_tracks("manifest", path, "test")
    assert track.length == 200
    np.testing.assert_array_equal(read_source(track.sources["a"], 0, 200), noise(0, 2, 400)[:, 80:280])
    np.testing.assert_array_equal(read_source(track.sources["b"], 50, 150), noise(1, 2, 400)[:, 250:])


def test_json_says_the_same(table, tmp_path):
    table()
    path = tmp_path / "songs.json"
    rows = [{"track": "x", "stem": "a", "path": "audio/a.wav", "split": "test", "start": 0.01, "duration": None}]
    path.write_text(json.dumps(rows))
    [track] = load_tracks("manifest", path, "test")
    assert (track.length, track.sources["a"].start) == (320, 80)
    path.write_text(json.dumps([*rows, {"track": "x", "stem": "b", "path": "no.wav", "split": "test"}]))
    with pytest.raises(DataError, match=r"songs\.json, entry 2: there is no file .*/no\.wav"):
        load_tracks("manifest", path, "test")
    path.write_text('{"x": 1}')
    with pytest.raises(DataError, match=r"cannot be read as a table .it is no list of objects"):
        load_tracks("manifest", path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,a,audio/z.wav,,,", r"songs\.csv, line 3: there is no file .*/audio/z\.wav: correct the path"),
        ("x,,audio/a.wav,,,", r"line 3: stem is empty"),
        ("x,a,audio/a.wav,trian,,", r"line 3: the split is 'trian' \(did you mean train\?\)"),
        ("x,a,audio/a.wav,,-1,", r"line 3: start is '-1', expected a number from 0 on"),
        ("x,a,audio/a.wav,,0.04,0.02", r"line 3: 0\.04 s to 0\.06 s of .* is asked for, which lasts 0\.05 s"),
        ("w,a,audio/a.wav,test,,", r"line 3: the track 'w' is in the split 'test' here and in 'train' above"),
        ("x,a,audio/a.wav,,,,,", r"line 3: unknown column 'what follows the last column'"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(table, line, message):
    path = table("w,a,audio/a.wav,,,", line, header="track,stem,path,split,start,duration")
    with pytest.raises(DataError, match=message):
        load_tracks("manifest", path)


def test_a_table_without_a_needed_column_or_with_an_unknown_one_is_refused(table, tmp_path):
    with pytest.raises(DataError, match="the column path is missing"):
        load_tracks("manifest", table("x,a", header="track,stem"))
    with pytest.raises(DataError, match=r"unknown column 'steem' \(did you mean stem"):
        load_tracks("manifest", table("x,a,p", header="track,steem,path"))
    with pytest.raises(DataError, match="is no CSV or JSON file, expected a table"):
        load_tracks("manifest", tmp_path)


def test_a_bad_row_costs_only_its_track_with_skip(table, tmp_path, caplog):
    (tmp_path / "audio" / "b.wav").write_bytes(b"nothing")
    path = table(
        *(f"{name},a,audio/{name}.wav,train,0,0.01" for name in "abcd"),
        "e,a,no.wav,train,,",
        header="track,stem,path,split,start,duration",
    )
    with pytest.raises(AudioError, match=r"line 3: .*b\.wav"):
        load_tracks("manifest", path, "train")
    assert [t.name for t in load_tracks("manifest", path, on_error="skip")] == ["c", "d", "a"]
    assert "2 of 5 songs left out" in caplog.text
