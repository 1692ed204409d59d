from __future__ import annotations

import pytest

from tfswa_unet.data import load_tracks
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.errors import DataError

STEMS = ["bass", "drums", "other", "vocals"]


@pytest.fixture
def root(tmp_path, write_song):
    """Two songs to train on, of which MUSDB18 validates with one, and one to test with."""
    for part, name in (
        ("Dev", "051 - AM Contra - Heart Peripheral"),
        ("Dev", "055 - ANiMAL - Rockshow"),
        ("Test", "001 - Angels"),
    ):
        write_song(tmp_path / "Sources" / part / name, STEMS)
        write_song(tmp_path / "Mixtures" / part / name, ["mixture"])
    return tmp_path


def test_dev_trains_test_tests_and_musdbs_validation_songs_validate(root):
    assert detect(root) == "dsd100"
    tracks = load_tracks("dsd100", root)
    assert [(track.name[:3], track.split) for track in tracks] == [("051", "train"), ("055", "valid"), ("001", "test")]
    assert list(tracks[0].sources) == ["vocals", "drums", "bass", "other"]
    assert tracks[0].sources["bass"].path == root / "Sources/Dev/051 - AM Contra - Heart Peripheral/bass.wav"
    assert tracks[2].mixture.path == root / "Mixtures/Test/001 - Angels/mixture.wav"


def test_a_missing_stem_is_named(root):
    (root / "Sources/Test/001 - Angels/bass.wav").unlink()
    with pytest.raises(DataError, match=r"The song .*001 - Angels lacks bass\.wav: put the files back"):
        load_tracks("dsd100", root, "test")
    assert len(load_tracks("dsd100", root, "train")) == 1


def test_mixtures_are_optional(root):
    (root / "Mixtures/Test/001 - Angels/mixture.wav").unlink()
    assert load_tracks("dsd100", root, "test")[0].mixture is None
