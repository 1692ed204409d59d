from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.data import Mixing, SegmentDataset, StemPlan
from tfswa_unet.data.collection import chances, load_data
from tfswa_unet.errors import ConfigError, DataError

FOUR = ["vocals", "drums", "bass", "other"]


@pytest.fixture
def sets(tmp_path, write_song):
    """Two sets of own songs, "a" with 2 of them to train on and "b" with 6, and one to validate with each."""
    for name, count in (("a", 2), ("b", 6)):
        for i in range(count):
            write_song(tmp_path / name / "train" / f"{name}{i}", ["vocals", "drums"])
        write_song(tmp_path / name / "valid" / "same name", ["vocals", "drums"])
    return tmp_path


def mixture(root, *weights, **more):
    sets = [
        {"kind": "folders", "root": str(root / n), "name": n, "weight": w} for n, w in zip("ab", weights, strict=True)
    ]
    return {"kind": "mixture", "root": "data", "mixture": sets, **more}


def test_one_data_set_is_what_it_was(sets):
    tracks = load_data({"kind": "folders", "root": str(sets / "a")}, "train")
    assert [(track.name, track.collection) for track in tracks] == [("a0", ""), ("a1", "")]


def test_a_mixture_holds_the_songs_of_all_sets_and_tells_their_names_apart(sets):
    tracks = load_data(mixture(sets, 3, 1), "train")
    assert [track.name for track in tracks] == ["a0", "a1", *(f"b{i}" for i in range(6))]
    assert {(track.collection, track.weight) for track in tracks} == {("a", 3.0), ("b", 1.0)}
    assert [track.name for track in load_data(mixture(sets, 1, 1), "valid")] == ["same name", "same name (b)"]


def test_chances_are_the_weights_whatever_the_number_of_songs(sets):
    tracks = load_data(mixture(sets, 3, 1), "train")
    np.testing.assert_allclose(chances(tracks, range(8)), [3 / 8, 3 / 8, *[1 / 24] * 6])
    np.testing.assert_allclose(chances(tracks, [1, 6, 7]), [0, 3 / 4, 0, 0, 0, 0, 1 / 8, 1 / 8])
    np.testing.assert_allclose(chances(tracks, [6, 7]), [0] * 6 + [0.5, 0.5])


def test_whole_songs_are_drawn_by_the_weights_of_their_sets(sets, monkeypatch):
    data = SegmentDataset(
        load_data(mixture(sets, 3, 1), "train"),
        StemPlan.from_config({"vocals": "vocals", "drums": "drums"}),
        seconds=0.01,
        rate=8_000,
        length=1_500,
    )
    drawn: list[int] = []
    monkeypatch.setattr(data.reader, "fill", lambda crop, track, stem, start, add: drawn.append(track))
    list(data)
    first = drawn.copy()
    assert 0.71 < np.mean(np.array(first) < 2) < 0.79
    drawn.clear()
    list(data)
    assert drawn == first


def test_a_set_without_songs_of_a_split_gives_none_but_one_has_to(sets, write_song):
    write_song(sets / "a" / "test" / "t", ["vocals"])
    assert [track.name for track in load_data(mixture(sets, 1, 1), "test")] == ["t"]
    (sets / "a" / "test" / "t" / "vocals.wav").unlink()
    with pytest.raises(DataError, match=r"None of the data sets .* split 'test' \(train 8, valid 2, test 0\)"):
        load_data(mixture(sets, 1, 1), "test")


def test_a_missing_set_says_how_to_name_its_place(tmp_path):
    with pytest.raises(DataError) as refused:
        load_data({"kind": "mixture", "mixture": [{"kind": "folders", "root": str(tmp_path / "gone")}]}, "train")
    assert str(refused.value).startswith(f"The data root {tmp_path / 'gone'} does not exist, expected ")
    assert str(refused.value).endswith("set its root in 'data.mixture=[{kind: KIND, root: /path/to/it}, …]'.")
    (tmp_path / "gone").mkdir()
    with pytest.raises(DataError, match=r"No songs found under .*: set its root in 'data\.mixture="):
        load_data({"kind": "mixture", "mixture": [{"kind": "folders", "root": str(tmp_path / "gone")}]}, "train")


def names(sets):
    config = {"kind": "mixture", "mixture": sets}
    return {split: [track.name for track in load_data(config, split)] for split in ("train", "valid", "test")}


def test_a_song_of_two_relatives_is_taken_once_and_never_trains_where_it_is_measured(tmp_path, write_song):
    hq, dsd = tmp_path / "hq", tmp_path / "dsd"
    for folder in ("train/AM Contra - Heart Peripheral", "train/ANiMAL - Rockshow", "test/Zeno - Signs"):
        write_song(hq / folder, FOUR)
    for folder in ("Dev/051 - AM Contra - Heart Peripheral", "Dev/055 - ANiMAL - Rockshow", "Dev/077 - Zeno - Signs"):
        write_song(dsd / "Sources" / folder, FOUR)
    sets = [{"kind": "musdb18hq", "root": str(hq)}, {"kind": "dsd100", "root": str(dsd)}]
    # DSD100's copies are gone, "Zeno - Signs" even from its training songs, as MUSDB18 tests with it.
    assert names(sets) == {
        "train": ["AM Contra - Heart Peripheral"],
        "valid": ["ANiMAL - Rockshow"],
        "test": ["Zeno - Signs"],
    }
    assert names(sets[::-1]) == {
        "train": ["051 - AM Contra - Heart Peripheral"],
        "valid": ["055 - ANiMAL - Rockshow"],
        "test": ["Zeno - Signs"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixture": []}, "data.mixture is .*, expected a list of data sets"),
        ({"mixture": "musdb18hq"}, "data.mixture is 'musdb18hq', expected a list"),
        ({"mixture": [{"kind": "folders"}]}, r"data.mixture\[0\].root is missing"),
        (
            {"mixture": [{"kind": "folders", "root": "x", "wieght": 2}]},
            r"data.mixture\[0\].wieght \(did you mean weight",
        ),
        ({"mixture": [{"kind": "folders", "root": "x", "weight": 0}]}, "weight of x is 0, expected more than 0"),
        ({"mixture": [{"kind": "folders", "root": "x", "weight": "2"}]}, "weight '2' of x is no number"),
        (
            {"mixture": [{"kind": "folders", "root": "x"}, {"kind": "folders", "root": "y"}]},
            "two data sets called 'folders'",
        ),
        ({"kind": "folders"}, "data.mixture is given with data.kind=folders: set data.kind=mixture"),
    ],
)
def test_impossible_mixtures_are_refused(sets, change, message):
    with pytest.raises(ConfigError, match=message):
        load_data(mixture(sets, 1, 1) | change, "train")


def test_mixing_modes_draw_a_stem_only_from_songs_that_have_it(make_track):
    flat = np.ones((2, 500), np.float32)
    tracks = [
        make_track("all", {"vocals": flat, "bass": 2 * flat}),
        make_track("no bass", {"vocals": 4 * flat}),
        make_track("only bass", {"bass": 8 * flat}),
    ]
    plan = StemPlan.from_config({"vocals": "vocals", "bass": "bass"})

    def levels(**mixing):
        data = SegmentDataset(tracks, plan, seconds=0.01, rate=8_000, length=200, mixing=Mixing(**mixing))
        return {tuple(item[:, 0, 0].tolist()) for item in data}

    # Each stem of another song, and none silent: "no bass" is never drawn for bass.
    assert levels(mode="random") == {(1, 8), (4, 2), (4, 8)}
    assert levels(mode="aligned") == {(1, 8), (4, 2), (4, 8)}
    # A whole song is what it is: its missing stem is silent and the mixture is the sum of what is there.
    assert levels(mode="song") == {(1, 2), (4, 0), (0, 8)}
    assert all(vocals in (1, 4, 0, 2, 5, 8) for vocals, _ in levels(mode="song", mix_audio=1.0))
