from __future__ import annotations

import numpy as np
import pytest

from tests.data.conftest import mixing
from tfswa_unet.data import DataSet, SegmentDataset, StemPlan, data_sets, load_data
from tfswa_unet.data.tracks import Make, chances
from tfswa_unet.errors import ConfigError, DataError

FOUR = ["vocals", "drums", "bass", "other"]


@pytest.fixture
def root(tmp_path, write_song):
    """Two sets of own songs, "a" with 2 of them to train on and "b" with 6, and one to validate with each."""
    for name, count in (("a", 2), ("b", 6)):
        for i in range(count):
            write_song(tmp_path / name / "train" / f"{name}{i}", ["vocals", "drums"])
        write_song(tmp_path / name / "valid" / "same name", ["vocals", "drums"])
    return tmp_path


def two(root, *weights):
    return {name: DataSet("folders", str(root / name), weight) for name, weight in zip("ab", weights, strict=True)}


def test_one_data_set_is_drawn_from_alike(root):
    tracks = load_data({"a": DataSet("folders", str(root / "a"), 1.0)}, "train")
    assert [(track.name, track.collection) for track in tracks] == [("a0", "a"), ("a1", "a")]
    np.testing.assert_array_equal(chances(tracks, range(2)), [0.5, 0.5])


def test_several_hold_the_songs_of_all_and_tell_their_names_apart(root):
    tracks = load_data(two(root, 3.0, 1.0), "train")
    assert [track.name for track in tracks] == ["a0", "a1", *(f"b{i}" for i in range(6))]
    assert {(track.collection, track.weight) for track in tracks} == {("a", 3.0), ("b", 1.0)}
    assert [track.name for track in load_data(two(root, 1.0, 1.0), "valid")] == ["same name", "same name (b)"]


def test_chances_are_the_weights_whatever_the_number_of_songs(root):
    tracks = load_data(two(root, 3.0, 1.0), "train")
    np.testing.assert_allclose(chances(tracks, range(8)), [3 / 8, 3 / 8, *[1 / 24] * 6])
    np.testing.assert_allclose(chances(tracks, [1, 6, 7]), [0, 3 / 4, 0, 0, 0, 0, 1 / 8, 1 / 8])
    np.testing.assert_allclose(chances(tracks, [6, 7]), [0] * 6 + [0.5, 0.5])


def test_whole_songs_are_drawn_by_the_weights_of_their_sets(root, monkeypatch):
    data = SegmentDataset(
        load_data(two(root, 3.0, 1.0), "train"),
        StemPlan.from_config({"vocals": "vocals", "drums": "drums"}),
        seconds=0.01,
        rate=8_000,
        channels=2,
        seed=0,
        length=1_500,
        mixing=mixing(),
    )
    drawn: list[int] = []
    monkeypatch.setattr(data.reader, "fill", lambda crop, track, stem, start, add: drawn.append(track))
    list(data)
    first = drawn.copy()
    assert 0.71 < np.mean(np.array(first) < 2) < 0.79
    drawn.clear()
    list(data)
    assert drawn == first


def test_a_set_without_songs_of_a_split_gives_none_but_one_has_to(root, write_song):
    write_song(root / "a" / "test" / "t", ["vocals"])
    sets = two(root, 1.0, 1.0)
    assert [track.name for track in load_data(sets, "test")] == ["t"]
    (root / "a" / "test" / "t" / "vocals.wav").unlink()
    with pytest.raises(
        DataError, match=r"None of the data sets a, b has songs to test with \(train 8, valid 2, test 0"
    ):
        load_data(sets, "test")


def test_a_missing_set_says_how_to_name_its_place(root, tmp_path):
    sets = {**two(root, 1.0, 1.0), "c": DataSet("folders", str(tmp_path / "gone"), 1.0)}
    with pytest.raises(DataError) as refused:
        load_data(sets, "train")
    assert str(refused.value).startswith(f"The data root {tmp_path / 'gone'} does not exist, expected ")
    assert str(refused.value).endswith("set data.sets.c.root=/path/to/it.")
    (tmp_path / "gone").mkdir()
    with pytest.raises(DataError, match=r"No songs found under .*: set data\.sets\.c\.root="):
        load_data(sets, "train")


def names(sets):
    return {split: [track.name for track in load_data(sets, split)] for split in ("train", "valid", "test")}


def test_a_song_of_two_relatives_is_taken_once_and_never_trains_where_it_is_measured(tmp_path, write_song):
    hq, dsd = tmp_path / "hq", tmp_path / "dsd"
    for folder in ("train/AM Contra - Heart Peripheral", "train/ANiMAL - Rockshow", "test/Zeno - Signs"):
        write_song(hq / folder, FOUR)
    for folder in ("Dev/051 - AM Contra - Heart Peripheral", "Dev/055 - ANiMAL - Rockshow", "Dev/077 - Zeno - Signs"):
        write_song(dsd / "Sources" / folder, FOUR)
    sets = {"musdb18hq": DataSet("musdb18hq", str(hq), 1.0), "dsd100": DataSet("dsd100", str(dsd), 1.0)}
    # DSD100's copies are gone, "Zeno - Signs" even from its training songs, as MUSDB18 tests with it.
    assert names(sets) == {
        "train": ["AM Contra - Heart Peripheral"],
        "valid": ["ANiMAL - Rockshow"],
        "test": ["Zeno - Signs"],
    }
    assert names(dict(reversed(sets.items()))) == {
        "train": ["051 - AM Contra - Heart Peripheral"],
        "valid": ["055 - ANiMAL - Rockshow"],
        "test": ["Zeno - Signs"],
    }


FOLDERS = {"kind": "folders", "root": "x", "weight": 1.0}
MOISES = {"kind": "moisesdb", "root": "y", "weight": 2, "options": {"grouping": "six"}}


def configured(sets, kind=None, root=None):
    return data_sets({"sets": sets, "kind": kind, "root": root})


def test_a_configuration_names_its_data_sets():
    made = {"tracks": 3, "seconds": 2, "seed": 0, "test_tracks": None, "band": 11}
    assert configured({"own": FOLDERS, "moisesdb": MOISES, "new": {**FOLDERS, "make": made}}) == {
        "own": DataSet("folders", "x", 1.0),
        "moisesdb": DataSet("moisesdb", "y", 2.0, {"grouping": "six"}),
        "new": DataSet("folders", "x", 1.0, make=Make(3, 2.0, 0, None, 11)),
    }


def test_kind_and_root_change_the_only_set():
    assert configured({"own": FOLDERS}, root="z") == {"own": DataSet("folders", "z", 1.0)}
    assert configured({"own": FOLDERS}, "auto", "z") == {"own": DataSet("auto", "z", 1.0)}


@pytest.mark.parametrize(
    ("sets", "shortcuts", "message"),
    [
        ({}, {}, "data.sets is {}, expected data sets by their names, such as {musdb18hq: {kind: musdb18hq"),
        ("musdb18hq", {}, "data.sets is 'musdb18hq', expected data sets by their names"),
        ({"a": "musdb18hq"}, {}, "data.sets.a is 'musdb18hq', expected a mapping of kind, root, weight, options, make"),
        ({"a": {"kind": "folders", "weight": 1}}, {}, "data.sets.a.root is missing: give it a value"),
        ({"a": {**FOLDERS, "wieght": 2}}, {}, "unknown key data.sets.a.wieght (did you mean weight?)"),
        ({"a": {**FOLDERS, "weight": 0}}, {}, "the weight of the data set at x is 0, expected more than 0"),
        ({"a": {**FOLDERS, "weight": float("inf")}}, {}, "the weight of the data set at x is inf, expected more"),
        ({"a": {**FOLDERS, "weight": "2"}}, {}, "data.sets.a.weight is '2', expected a number"),
        ({"a": {**FOLDERS, "options": "six"}}, {}, "data.sets.a.options is 'six', expected a mapping"),
        ({"a": {**FOLDERS, "make": {"tracks": 3}}}, {}, "data.sets.a.make.seconds is missing"),
        (
            {"a": FOLDERS, "b": MOISES},
            {"root": "elsewhere"},
            "data.root cannot be for several data sets at once, and a, b are chosen: set data.sets.a.root or "
            "data.sets.b.root instead",
        ),
        ({"a": FOLDERS, "b": MOISES}, {"kind": "auto"}, "data.kind cannot be for several data sets at once"),
    ],
)
def test_impossible_data_sets_are_refused(sets, shortcuts, message):
    with pytest.raises(ConfigError) as refused:
        configured(sets, **shortcuts)
    assert str(refused.value).startswith(message)


def test_mixing_modes_draw_a_stem_only_from_songs_that_have_it(make_track):
    flat = np.ones((2, 500), np.float32)
    tracks = [
        make_track("all", {"vocals": flat, "bass": 2 * flat}),
        make_track("no bass", {"vocals": 4 * flat}),
        make_track("only bass", {"bass": 8 * flat}),
    ]
    plan = StemPlan.from_config({"vocals": "vocals", "bass": "bass"})

    def levels(**settings):
        data = SegmentDataset(tracks, plan, 0.01, 8_000, 2, 0, 200, mixing(**settings))
        return {tuple(item[:, 0, 0].tolist()) for item in data}

    # Each stem of another song, and none silent: "no bass" is never drawn for bass.
    assert levels(mode="random") == {(1, 8), (4, 2), (4, 8)}
    assert levels(mode="aligned") == {(1, 8), (4, 2), (4, 8)}
    # A whole song is what it is: its missing stem is silent and the mixture is the sum of what is there.
    assert levels(mode="song") == {(1, 2), (4, 0), (0, 8)}
    assert all(vocals in (1, 4, 0, 2, 5, 8) for vocals, _ in levels(mode="song", mix_audio=1.0))
