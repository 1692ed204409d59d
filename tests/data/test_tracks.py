from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.data.conftest import mixing
from tfswa_unet import audio
from tfswa_unet.data import DataSet, SegmentDataset, StemPlan, data_sets, load_data, load_tracks
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.data.tracks import Make, _tell_once, chances
from tfswa_unet.errors import AudioError, ConfigError, DataError

FOUR = ["vocals", "drums", "bass", "other"]


def test_a_missing_root_says_what_belongs_there_and_the_two_ways_on(tmp_path):
    root = tmp_path / "nowhere"
    for kind, expected in (("musdb18hq", r"train\|test/<song>/\{vocals,drums"), ("musdb18", r"<song>\.stem\.mp4")):
        with pytest.raises(DataError, match=rf"{root} does not exist, expected .*{expected}.*") as caught:
            load_tracks(kind, root, "train")
        assert "set data.root=/path/to/musdb18hq" in str(caught.value)
        assert "data=synthetic" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        load_tracks("auto", tmp_path / "file")


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"No songs found under .*expected train.*or.*data=synthetic"):
        load_tracks("auto", tmp_path)


def test_the_folder_above_the_data_set_is_recognised(tmp_path, write_song):
    write_song(tmp_path / "musdb18hq" / "train" / "a")
    with pytest.raises(DataError, match=r"did you mean .*/musdb18hq\?"):
        load_tracks("musdb18hq", tmp_path)


def test_a_split_without_songs_is_refused_with_what_there_is(tmp_path, write_song):
    for name in "abc":
        write_song(tmp_path / name, ["guitar"])
    with pytest.raises(DataError, match=r"no songs to test with \(train 2, valid 1, test 0\): put some into .*/test"):
        load_tracks("folders", tmp_path, "test")


def test_unknown_kinds_and_splits_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data.kind 'musdb18-hq' .did you mean musdb18hq"):
        load_tracks("musdb18-hq", tmp_path)
    with pytest.raises(ConfigError, match="split 'validation'"):
        load_tracks("auto", tmp_path, "validation")


def test_stems_of_different_length_are_named_with_their_lengths(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "train" / "My Song", FOUR)
    write_wav(folder / "bass.wav", np.zeros((2, 399)))
    message = (
        r"The stems of track 'My Song' \(.*My Song\) differ in length: vocals 400, drums 400, bass 399, other 400 "
        r"samples; cut or pad them to one length or remove the track\."
    )
    with pytest.raises(DataError, match=message):
        load_tracks("musdb18hq", tmp_path)


def test_stems_of_different_rate_are_named_with_their_rates(tmp_path, write_song, write_wav):
    write_song(tmp_path / "a", ["guitar"], rate=8_000)
    write_wav(tmp_path / "a" / "flute.wav", np.zeros((2, 400)), 9_000)
    with pytest.raises(DataError, match=r"differ in rate: flute 9000, guitar 8000 Hz; resample them to one rate"):
        load_tracks("folders", tmp_path)


def test_a_mixture_of_another_length_is_refused_too(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "a", ["guitar"])
    write_wav(folder / "mixture.wav", np.zeros((2, 500)))
    with pytest.raises(DataError, match="guitar 400, mixture 500 samples"):
        load_tracks("folders", tmp_path)


def test_stems_may_differ_in_channels(tmp_path, write_song, write_wav):
    folder = write_song(tmp_path / "a", ["guitar"], channels=2)
    write_wav(folder / "flute.wav", np.zeros((1, 400)))
    assert load_tracks("folders", tmp_path)[0].length == 400


def test_an_unreadable_file_is_named(tmp_path, write_song):
    folder = write_song(tmp_path / "a", ["guitar"])
    (folder / "flute.wav").write_bytes(b"no audio at all")
    with pytest.raises(AudioError, match=r"flute\.wav"):
        load_tracks("folders", tmp_path)


def test_files_without_samples_are_refused(tmp_path, write_song):
    write_song(tmp_path / "a", ["guitar"], length=0)
    with pytest.raises(AudioError, match=r"guitar\.wav: holds 0 samples"):
        load_tracks("folders", tmp_path)


def test_only_the_asked_split_is_opened(tmp_path, write_song):
    write_song(tmp_path / "train" / "a", ["guitar"])
    write_song(tmp_path / "test" / "b", ["guitar"])
    (tmp_path / "test" / "b" / "guitar.wav").write_bytes(b"broken")
    assert [track.name for track in load_tracks("folders", tmp_path, "train")] == ["a"]


def test_auto_tells_the_layouts_apart(tmp_path, write_song):
    write_song(tmp_path / "hq" / "train" / "a", FOUR)
    write_song(tmp_path / "hq" / "train" / "b", FOUR[:3])
    write_song(tmp_path / "flat" / "a", FOUR)
    write_song(tmp_path / "other" / "train" / "a", [*FOUR, "guitar"])
    write_song(tmp_path / "flac" / "train" / "a", [f"{stem}.flac" for stem in FOUR])
    (tmp_path / "mp4" / "test").mkdir(parents=True)
    (tmp_path / "mp4" / "test" / "a.stem.mp4").write_bytes(b"")
    found = {path.name: detect(path) for path in tmp_path.iterdir()}
    assert found == {"hq": "musdb18hq", "flat": "folders", "other": "folders", "flac": "folders", "mp4": "musdb18"}


def test_every_file_is_opened_once_and_with_a_warm_cache_only_what_is_new(tmp_path, write_song, write_wav, monkeypatch):
    template = write_song(tmp_path / "template", FOUR, length=10)
    for number in range(200):
        shutil.copytree(template, tmp_path / "songs" / "train" / f"{number:03d}")
    original, opened = audio.probe, []
    monkeypatch.setattr(audio, "probe", lambda path, stream: opened.append(path) or original(path, stream))

    def index():
        opened.clear()
        cache = PcmCache(tmp_path / "cache", 8_000, 2)
        tracks = load_tracks("musdb18hq", tmp_path / "songs", probe=cache.probe)
        cache.build(tracks, workers=1)
        return tracks

    first = index()
    assert (len(first), len(opened), len(set(opened))) == (200, 800, 800)
    assert index() == first
    assert opened == []
    new = write_wav(tmp_path / "songs" / "train" / "007" / "bass.wav", np.ones((2, 10)))
    index()
    assert opened == [new]


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


def test_a_song_of_two_relatives_is_taken_once_and_never_trains_where_it_is_measured(tmp_path, write_song, caplog):
    hq, dsd = tmp_path / "hq", tmp_path / "dsd"
    for folder in ("train/AM Contra - Heart Peripheral", "train/ANiMAL - Rockshow", "test/Zeno - Signs"):
        write_song(hq / folder, FOUR)
    for folder in ("Dev/051 - AM Contra - Heart Peripheral", "Dev/055 - ANiMAL - Rockshow", "Dev/077 - Zeno - Signs"):
        write_song(dsd / "Sources" / folder, FOUR)
    sets = {"musdb18hq": DataSet("musdb18hq", str(hq), 1.0), "dsd100": DataSet("dsd100", str(dsd), 1.0)}
    # DSD100's copies are gone, "Zeno - Signs" even from its training songs, as MUSDB18 tests with it.
    _tell_once.cache_clear()
    assert names(sets) == {
        "train": ["AM Contra - Heart Peripheral"],
        "valid": ["ANiMAL - Rockshow"],
        "test": ["Zeno - Signs"],
    }
    (said,) = (record.message for record in caplog.records)
    assert said.startswith("data.sets.dsd100: 3 of 3 songs left out, which sets before it have or others measure by")
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
    made = {"tracks": 3, "seconds": 2, "seed": 0, "test_tracks": None, "band": 11, "stabs": 0.5}
    assert configured({"own": FOLDERS, "moisesdb": MOISES, "new": {**FOLDERS, "make": made}}) == {
        "own": DataSet("folders", "x", 1.0),
        "moisesdb": DataSet("moisesdb", "y", 2.0, {"grouping": "six"}),
        "new": DataSet("folders", "x", 1.0, make=Make(3, 2.0, 0, None, 11, 0.5)),
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
