from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.data import load_tracks
from tfswa_unet.data.sets import musdb as reader
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.errors import DataError
from tfswa_unet.types import STEMS

TRAIN = ["A Song", "B Song", "ANiMAL - Rockshow", "Johnny Lokke - Promises & Lies"]
TEST = ["C Song", "D Song"]
SPLITS = ("train", "valid", "test")


@pytest.fixture
def hq(tmp_path, write_song) -> Path:
    for split, names in (("train", TRAIN), ("test", TEST)):
        for name in names:
            write_song(tmp_path / split / name, rate=44_100, length=4_410)
    return tmp_path


@pytest.fixture
def stem_mp4(tmp_path) -> Path:
    packaged = next((Path(find_spec("stempeg").origin).parent / "data").glob("*.stem.mp4"))
    for split, names in (("train", TRAIN), ("test", TEST)):
        (tmp_path / split).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / split / f"{name}.stem.mp4").symlink_to(packaged)
    return tmp_path


def test_the_official_names_are_read_without_importing_musdb():
    reader.validation_names.cache_clear()
    before = "musdb" in sys.modules
    names = reader.validation_names()
    assert len(names) == 14
    assert "Young Griffo - Pennies" in names
    assert ("musdb" in sys.modules) == before


def test_without_musdb_it_says_so(monkeypatch):
    reader.validation_names.cache_clear()
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="musdb is not installed"):
        assert reader.validation_names() == frozenset()
    reader.validation_names.cache_clear()


@pytest.mark.parametrize(("kind", "fixture"), [("musdb18hq", "hq"), ("musdb18", "stem_mp4")])
def test_the_splits_are_musdbs_own(kind, fixture, request):
    import musdb

    root = request.getfixturevalue(fixture)
    wav = kind == "musdb18hq"
    for split in SPLITS:
        subset = {"subsets": "test"} if split == "test" else {"subsets": ["train"], "split": split}
        expected = musdb.DB(root=str(root), is_wav=wav, **subset)
        tracks = load_tracks(kind, root, split)
        assert [track.name for track in tracks] == [track.name for track in expected]
        assert {track.split for track in tracks} == {split}
        for track, theirs in zip(tracks, expected, strict=True):
            assert {stem: (str(s.path), s.stream) for stem, s in track.sources.items()} == {
                stem: (s.path, 0 if wav else s.stem_id) for stem, s in theirs.sources.items()
            }
            assert track.mixture.stream == 0
            assert Path(theirs.path) == track.mixture.path
    assert [track.split for track in load_tracks("auto", root)] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2


def test_stem_mp4_has_five_equal_streams_that_sum_to_the_mixture(stem_mp4):
    track = load_tracks("musdb18", stem_mp4, "test")[0]
    assert (track.rate, list(track.sources)) == (44_100, ["vocals", "drums", "bass", "other"])
    stems = [audio.read(source.path, 50_000, 44_100, source.stream) for source in track.sources.values()]
    mixture = audio.read(track.mixture.path, 50_000, 44_100, track.mixture.stream)
    assert mixture.shape == (2, 44_100)
    error = np.square(sum(stems) - mixture).mean() / np.square(mixture).mean()
    assert error < 0.02


def test_a_missing_stem_is_named_with_the_way_on(hq):
    (hq / "test" / "C Song" / "bass.wav").unlink()
    with pytest.raises(DataError, match=r"C Song lacks bass\.wav: .*data\.kind=folders"):
        load_tracks("musdb18hq", hq, "test")


def test_the_mixture_file_is_optional(hq):
    (hq / "test" / "C Song" / "mixture.wav").unlink()
    first, second = load_tracks("musdb18hq", hq, "test")
    assert first.mixture is None
    assert second.mixture is not None


def test_hidden_files_are_no_songs(hq, stem_mp4):
    (hq / "test" / "._x.stem.mp4").write_bytes(b"")
    (hq / "test" / ".DS_Store").write_bytes(b"")
    assert len(load_tracks("musdb18", hq, "test")) == 2
    assert len(load_tracks("musdb18hq", hq, "test")) == 2


def test_musdb_reads_the_same_samples(stem_mp4):
    import musdb

    theirs = musdb.DB(root=str(stem_mp4), subsets="test")[0]
    ours = load_tracks("musdb18", stem_mp4, "test")[0]
    for stem, source in ours.sources.items():
        expected = theirs.targets[stem].audio.T
        got = audio.read(source.path, stream=source.stream)
        assert got.shape == expected.shape
        # musdb reads through 16 bits, which cannot hold what lies above full scale.
        np.testing.assert_allclose(got.clip(-1, 1), expected, atol=1e-4)


@pytest.fixture
def dsd100(tmp_path, write_song):
    """Two songs to train on, of which MUSDB18 validates with one, and one to test with."""
    for part, name in (
        ("Dev", "051 - AM Contra - Heart Peripheral"),
        ("Dev", "055 - ANiMAL - Rockshow"),
        ("Test", "001 - Angels"),
    ):
        write_song(tmp_path / "Sources" / part / name, sorted(STEMS))
        write_song(tmp_path / "Mixtures" / part / name, ["mixture"])
    return tmp_path


def test_dev_trains_test_tests_and_musdbs_validation_songs_validate(dsd100):
    assert detect(dsd100) == "dsd100"
    tracks = load_tracks("dsd100", dsd100)
    assert [(track.name[:3], track.split) for track in tracks] == [("051", "train"), ("055", "valid"), ("001", "test")]
    assert list(tracks[0].sources) == ["vocals", "drums", "bass", "other"]
    assert tracks[0].sources["bass"].path == dsd100 / "Sources/Dev/051 - AM Contra - Heart Peripheral/bass.wav"
    assert tracks[2].mixture.path == dsd100 / "Mixtures/Test/001 - Angels/mixture.wav"


def test_a_missing_stem_of_dsd100_is_named(dsd100):
    (dsd100 / "Sources/Test/001 - Angels/bass.wav").unlink()
    with pytest.raises(DataError, match=r"The song .*001 - Angels lacks bass\.wav: put the files back"):
        load_tracks("dsd100", dsd100, "test")
    assert len(load_tracks("dsd100", dsd100, "train")) == 1


def test_mixtures_of_dsd100_are_optional(dsd100):
    (dsd100 / "Mixtures/Test/001 - Angels/mixture.wav").unlink()
    assert load_tracks("dsd100", dsd100, "test")[0].mixture is None
