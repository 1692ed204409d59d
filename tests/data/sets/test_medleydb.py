from __future__ import annotations

import numpy as np
import pytest
import yaml

from tests.conftest import noise
from tfswa_unet.data import load_tracks
from tfswa_unet.data.reading import read_source
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.data.sets.medleydb import STEM_OF
from tfswa_unet.errors import ConfigError, DataError

LABELS = ["acoustic guitar", "vocalists", "electric bass", "vibraphone", "male singer", "drum set", "tambourine"]


@pytest.fixture
def write(tmp_path, write_wav):
    """Write a song with one stem a label, stem i being noise of seed i."""

    def make(name="Band_Song", labels=LABELS, bleed="no", place="Audio", length=400, beside=True):
        folder = tmp_path / place / name
        stems = {}
        for i, label in enumerate(labels, 1):
            file = f"{name}_STEM_{i:02d}.wav"
            write_wav(folder / f"{name}_STEMS" / file, noise(i, 2, length - (i == 1)))
            stems[f"S{i:02d}"] = {"component": "", "filename": file, "instrument": label, "raw": {}}
        write_wav(folder / f"{name}_MIX.wav", noise(0, 2, length))
        metadata = {"artist": "Band", "has_bleed": bleed, "stems": stems, "title": "Song", "stem_dir": f"{name}_STEMS"}
        path = (folder if beside else tmp_path / "Metadata") / f"{name}_METADATA.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(metadata))
        return path

    return make


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("place", ["Audio", "V2", "."])
def test_stems_are_summed_by_instrument(tmp_path, write, beside, place):
    write(place=place, beside=beside)
    assert detect(tmp_path) == "medleydb"
    [track] = load_tracks("medleydb", tmp_path)
    assert (track.name, track.split, track.length) == ("Band_Song", "train", 400)
    assert track.mixture.path.name == "Band_Song_MIX.wav"
    expected = {"vocals": (2, 5), "drums": (6, 7), "bass": (3,), "other": (1, 4)}
    assert list(track.sources) == list(expected)
    for stem, seeds in expected.items():
        total = sum(np.pad(x := noise(i, 2, 400 - (i == 1)), ((0, 0), (0, 400 - x.shape[1]))) for i in seeds)
        np.testing.assert_allclose(read_source(track.sources[stem], 0, 400), total, atol=1e-7)


def test_a_song_without_an_instrument_has_no_such_stem(tmp_path, write):
    write(labels=["cello", "female singer"])
    assert list(load_tracks("medleydb", tmp_path)[0].sources) == ["vocals", "other"]


def test_bleeding_songs_can_be_left_out(tmp_path, write):
    write("A_Clean")
    write("A_Bleeding", bleed="yes")
    write("A_Room", ["Main System", "male singer"])
    write("A_Both", [["drum set", "electric bass"], "piano"])
    every = load_tracks("medleydb", tmp_path, options={"bleed": True})
    assert len(every) == 4
    assert [t.name for t in load_tracks("medleydb", tmp_path)] == ["A_Clean"]
    both = next(t for t in every if t.name == "A_Both")
    assert {stem: len(source.parts) for stem, source in both.sources.items()} == {"other": 2}


def test_musdbs_validation_songs_validate(tmp_path, write):
    write("ANiMAL_Rockshow")
    write("Band_Song")
    assert [t.name for t in load_tracks("medleydb", tmp_path, "valid")] == ["ANiMAL_Rockshow"]


def test_an_unknown_instrument_is_named_and_can_be_given_a_stem(tmp_path, write):
    path = write(labels=["pianoo", "drum set"])
    with pytest.raises(
        DataError, match=rf"{path.name} has the instrument 'pianoo', .*did you mean piano.*\{{pianoo: STEM\}}'"
    ):
        load_tracks("medleydb", tmp_path)
    [track] = load_tracks("medleydb", tmp_path, options={"instruments": {"pianoo": "other"}})
    assert list(track.sources) == ["drums", "other"]
    with pytest.raises(ConfigError, match=r"instruments\.pianoo 'keys'"):
        load_tracks("medleydb", tmp_path, options={"instruments": {"pianoo": "keys"}})


def test_broken_songs_are_named(tmp_path, write):
    path = write()
    stem = path.parent / "Band_Song_STEMS" / "Band_Song_STEM_03.wav"
    stem.unlink()
    with pytest.raises(DataError, match=r"Band_Song lacks Band_Song_STEMS/Band_Song_STEM_03\.wav"):
        load_tracks("medleydb", tmp_path)
    path.write_text("stems: [1]")
    with pytest.raises(DataError, match="is no metadata of MedleyDB, expected stems with filename and instrument"):
        load_tracks("medleydb", tmp_path)
    path.write_text("stems: [1")
    with pytest.raises(DataError, match="cannot be read as YAML"):
        load_tracks("medleydb", tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"has no Band_Song_METADATA\.yaml: put it there, or into .*Metadata"):
        load_tracks("medleydb", tmp_path)


def test_every_label_has_one_of_the_four_stems():
    assert set(STEM_OF.values()) == {"vocals", "drums", "bass", "other"}
    assert {STEM_OF[x] for x in ("snare drum", "tabla", "drum machine")} == {"drums"}
    assert {STEM_OF[x] for x in ("timpani", "tuba", "fx/processed sound", "bass clarinet")} == {"other"}
    assert all(label == label.strip() and "\n" not in label for label in STEM_OF)
