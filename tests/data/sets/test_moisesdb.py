from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import noise
from tfswa_unet.data import load_tracks
from tfswa_unet.data.reading import read_source
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.errors import ConfigError, DataError

# stem → (seed and length of each track)
STEMS = {
    "vocals": [(0, 400), (1, 300)],
    "drums": [(2, 400)],
    "guitar": [(3, 400)],
    "piano": [(4, 380)],
    "bowed_strings": [(5, 400)],
}


@pytest.fixture
def write(tmp_path, write_wav):
    """Write a song under a provider's folder; return its data.json."""

    def make(uuid="0a1b2c3d-1111", bleed=False, provider="moisesdb_v0.1"):
        folder = tmp_path / provider / uuid
        stems = []
        for stem, parts in STEMS.items():
            tracks = [
                {"id": f"t{seed}", "extension": "wav", "trackType": "any", "has_bleed": bleed} for seed, _ in parts
            ]
            stems.append({"stemName": stem, "id": f"s-{stem}", "tracks": tracks})
            for seed, length in parts:
                write_wav(folder / stem / f"t{seed}.wav", noise(seed, 2, length))
        path = folder / "data.json"
        path.write_text(json.dumps({"artist": "Band", "song": "Song", "genre": "rock", "stems": stems}))
        return path

    return make


def total(*seeds):
    lengths = dict(part for parts in STEMS.values() for part in parts)
    return sum(np.pad(noise(s, 2, lengths[s]), ((0, 0), (0, 400 - lengths[s]))) for s in seeds)


@pytest.mark.parametrize("provider", ["moisesdb_v0.1", "."])
def test_tracks_are_summed_to_four_stems(tmp_path, write, provider):
    write(provider=provider)
    assert detect(tmp_path) == "moisesdb"
    [track] = load_tracks("moisesdb", tmp_path)
    assert (track.name, track.length) == ("Band - Song [0a1b2c3d]", 400)
    assert list(track.sources) == ["vocals", "drums", "other"]
    for stem, seeds in {"vocals": (0, 1), "drums": (2,), "other": (3, 4, 5)}.items():
        np.testing.assert_allclose(read_source(track.sources[stem], 0, 400), total(*seeds), atol=1e-7)


def test_other_groupings_keep_more_stems(tmp_path, write):
    write()
    [six] = load_tracks("moisesdb", tmp_path, options={"grouping": "six"})
    assert list(six.sources) == ["vocals", "drums", "guitar", "piano", "other"]
    np.testing.assert_allclose(read_source(six.sources["piano"], 0, 400), total(4), atol=1e-7)
    [every] = load_tracks("moisesdb", tmp_path, options={"grouping": "all"})
    assert list(every.sources) == list(STEMS)
    with pytest.raises(
        ConfigError, match=r"data\.sets\.moisesdb\.options\.grouping 'five': expected one of four, six, all"
    ):
        load_tracks("moisesdb", tmp_path, options={"grouping": "five"})


def test_songs_of_one_name_stay_apart_and_bleed_can_be_left_out(tmp_path, write):
    write()
    write("99999999-2222", bleed=True)
    assert len({track.name for track in load_tracks("moisesdb", tmp_path)}) == 2
    [clean] = load_tracks("moisesdb", tmp_path, options={"bleed": False})
    assert clean.name.endswith("[0a1b2c3d]")


def test_broken_songs_are_named_and_can_be_skipped(tmp_path, write, caplog):
    path = write()
    (path.parent / "drums" / "t2.wav").unlink()
    with pytest.raises(DataError, match=r"0a1b2c3d-1111 lacks drums/t2\.wav: fetch it again"):
        load_tracks("moisesdb", tmp_path)
    write("99999999-2222").write_text("{")
    with pytest.raises(DataError, match=r"data\.json cannot be read as JSON"):
        load_tracks("moisesdb", tmp_path, "train")
    write("88888888-3333").write_text('{"stems": [{"stemName": "vocals"}]}')
    write("77777777-4444")
    tracks = load_tracks("moisesdb", tmp_path, on_error="skip")
    assert [track.name for track in tracks] == ["Band - Song [77777777]"]
    assert "is no song of MoisesDB, expected stems with stemName" in caplog.text
    assert "3 of 4 songs left out" in caplog.text
