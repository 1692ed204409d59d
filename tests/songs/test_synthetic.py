import hashlib
import json
import os
import shutil
from collections import namedtuple
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from tests.songs.conftest import SECONDS
from tfswa_unet.data import load_tracks
from tfswa_unet.errors import DataError
from tfswa_unet.songs import synthesize, write_dataset
from tfswa_unet.songs.compose import compose, played_by
from tfswa_unet.songs.synthetic import PEAK, make_recipe
from tfswa_unet.types import STEMS

RATE = 44_100
FILES = ["bass.wav", "drums.wav", "mixture.wav", "other.wav", "vocals.wav"]


def third_octaves(sound):
    """Share of a sound's power in each third of an octave from 25 Hz up."""
    frequency, power = welch(sound.mean(axis=0), RATE, nperseg=8192)
    edges = 25 * 2 ** (np.arange(30) / 3)
    bands = np.array([power[(frequency >= a) & (frequency < b)].sum() for a, b in pairwise(edges)])
    return bands / power.sum(), edges


def digest(root):
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "songs"
    write_dataset(out, 4, 1.5, seed=3, workers=1)
    return out


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def test_stems_have_the_asked_form(songs):
    for stems in songs:
        assert tuple(stems) == STEMS == ("vocals", "drums", "bass", "other")
        for audio in stems.values():
            assert audio.shape == (2, round(SECONDS * RATE))
            assert audio.dtype == np.float32
            assert np.isfinite(audio).all()


@pytest.mark.parametrize(("seconds", "rate"), [(1, 44_100), (1.7, 22_050), (2.3, 48_000), (1, 16_000), (1, 96_000)])
def test_any_length_and_rate(seconds, rate):
    for seed in range(3):
        stems = synthesize(seed, seconds, rate)
        for audio in stems.values():
            assert audio.shape == (2, round(seconds * rate))
            assert np.isfinite(audio).all()
            assert np.square(audio).mean() > 1e-6


def test_the_same_seed_gives_the_same_bytes_and_another_other_songs(songs):
    again = synthesize(0, SECONDS)
    for stem in STEMS:
        assert again[stem].tobytes() == songs[0][stem].tobytes()
        assert abs(np.corrcoef(songs[0][stem][0], songs[1][stem][0])[0, 1]) < 0.2


def test_nothing_clips_and_the_song_uses_the_scale(songs):
    for stems in songs:
        peaks = [np.abs(audio).max() for audio in (*stems.values(), sum(stems.values()))]
        assert max(peaks) == pytest.approx(PEAK, abs=1e-4)


def test_no_stem_is_silent_but_some_rest(songs):
    quiet = []
    for stems in songs:
        for audio in stems.values():
            blocks = np.square(audio[:, : int(SECONDS) * RATE]).mean(axis=0).reshape(-1, RATE // 10).mean(axis=1)
            assert (blocks > 1e-2 * blocks.max()).mean() > 0.2
            quiet.append((blocks < 1e-2 * blocks.max()).mean())
    assert max(quiet) > 0.2


def test_the_mixture_is_a_plausible_estimate_of_each_stem(songs):
    for stem in STEMS:
        sdr = []
        for stems in songs:
            rest = sum(audio for name, audio in stems.items() if name != stem)
            sdr.append(10 * np.log10(np.square(stems[stem]).sum() / np.square(rest).sum()))
        assert min(sdr) > -12
        assert max(sdr) < 0.5
        assert -8.5 < np.median(sdr) < -2.5, stem


def test_stems_share_their_spectrum(songs):
    shares = {stem: np.median([third_octaves(stems[stem])[0] for stems in songs], axis=0) for stem in STEMS}
    _, edges = third_octaves(songs[0]["bass"])
    low, high = edges[:-1] < 130, (edges[:-1] > 4000) & (edges[:-1] < 15_000)
    assert np.minimum(shares["vocals"], shares["other"]).sum() > 0.4
    assert shares["drums"][low].sum() > 0.3
    assert shares["bass"][low].sum() > 0.3
    assert shares["vocals"][high].sum() > 0.01
    assert shares["drums"][high].sum() > 0.03


def test_there_is_no_offset_nor_anything_beyond_hearing(songs):
    for stems in songs:
        for name, audio in stems.items():
            level = np.sqrt(np.square(audio).mean())
            assert abs(audio.mean()) < 3e-3 * level
            frequency, power = welch(audio.mean(axis=0), RATE, nperseg=8192)
            assert power[frequency > 20_500].sum() < 0.01 * power.sum(), name


def test_the_song_ends_in_silence(songs):
    assert all(np.abs(audio[:, -1]).max() < 1e-4 for stems in songs for audio in stems.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 5), "the seed is -1; give 0 or more"),
        ((0, 0.5), "a song of 0.5 s cannot be made; give at least 1 s"),
        ((0, float("nan")), "a song of nan s cannot be made; give at least 1 s"),
        ((0, 5, 8000), "a sample rate of 8000 Hz is out of range; give 16000 to 192000 Hz"),
    ],
)
def test_impossible_songs_are_refused(arguments, message):
    with pytest.raises(DataError) as error:
        synthesize(*arguments)
    assert str(error.value) == message


def test_songs_of_a_band_share_its_sounds_and_not_its_music():
    plans = [compose(np.random.default_rng(seed), 20.0) for seed in range(8)]
    band = plans[-1]
    songs = [played_by(plan, band) for plan in plans]
    for song, plan in zip(songs, plans, strict=True):
        assert (song.voice, song.kit, song.bass, song.layers) == (band.voice, band.kit, band.bass, band.layers)
        assert (song.room, song.strips) == (band.room, band.strips)
        assert (song.tempo, song.root, song.verse, song.sections) == (plan.tempo, plan.root, plan.verse, plan.sections)
    one, same, another, many = (synthesize(3, 2.0, band=band) for band in (0, 0, 1, None))
    for stem in STEMS:
        np.testing.assert_array_equal(one[stem], same[stem])
        assert not np.array_equal(one[stem], another[stem])
        assert not np.array_equal(one[stem], many[stem])


def test_stabs_change_the_bass_alone():
    plain, stabs = synthesize(3, 2.0), synthesize(3, 2.0, stabs=1.0)
    for stem in STEMS:
        loudest = [song[stem] / np.abs(song[stem]).max() for song in (plain, stabs)]  # a song has one gain
        assert np.allclose(*loudest, atol=1e-5) == (stem != "bass")


def test_layout(dataset):
    songs = sorted(path.relative_to(dataset).as_posix() for path in dataset.glob("*/*"))
    assert songs == ["test/song-0004", "train/song-0001", "train/song-0002", "valid/song-0003"]
    for song in songs:
        assert sorted(path.name for path in (dataset / song).iterdir()) == FILES
    assert sorted(path.name for path in dataset.iterdir()) == ["synthetic.json", "test", "train", "valid"]


def test_files_are_16_bit_stereo_and_the_mixture_is_the_sum(dataset):
    for song in dataset.glob("*/*"):
        info = soundfile.info(song / "mixture.wav")
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (44_100, 2, 66_150, "PCM_16")
        total = sum(soundfile.read(song / f"{stem}.wav", dtype="int16")[0].astype(int) for stem in STEMS)
        mixture = soundfile.read(song / "mixture.wav", dtype="int16")[0]
        assert np.array_equal(mixture, total)
        assert np.abs(mixture.astype(int)).max() < 32_000


def test_files_hold_the_synthesized_song(dataset):
    stems = synthesize(make_recipe(4, 1.5, 3).song_seed(0), 1.5)
    for stem, sound in stems.items():
        written = soundfile.read(dataset / "train" / "song-0001" / f"{stem}.wav", dtype="float32")[0].T
        assert np.abs(written - sound).max() <= 0.5 / 32_768 + 1e-7


def test_the_reader_finds_the_splits(dataset):
    found = {
        split: [track.name for track in load_tracks("auto", dataset, split)] for split in ("train", "valid", "test")
    }
    assert found == {"train": ["song-0001", "song-0002"], "valid": ["song-0003"], "test": ["song-0004"]}


def test_bytes_depend_on_the_seed_alone(dataset, tmp_path):
    write_dataset(tmp_path / "again", 4, 1.5, seed=3, workers=2)
    assert digest(tmp_path / "again") == digest(dataset)
    write_dataset(tmp_path / "other", 1, 1.5, seed=4, workers=1)
    one, two = digest(tmp_path / "other"), digest(dataset)
    assert all(one[f"train/song-0001/{name}"] != two[f"train/song-0001/{name}"] for name in FILES)


def test_an_interrupted_run_is_completed_and_nothing_done_twice(copy, dataset):
    shutil.rmtree(copy / "train" / "song-0002")
    (copy / "valid" / "song-0003" / "bass.wav").unlink()
    stale = copy / "train" / ".song-0002-x"
    stale.mkdir()
    (stale / "vocals.wav").write_bytes(b"half")
    os.utime(stale, (0, 0))
    kept = (copy / "train" / "song-0001" / "bass.wav").stat().st_mtime_ns
    calls = []
    write_dataset(copy, 4, 1.5, seed=3, workers=1, on_progress=lambda *call: calls.append(call))
    assert calls == [(2, 4), (3, 4), (4, 4)]
    assert digest(copy) == digest(dataset)
    assert (copy / "train" / "song-0001" / "bass.wav").stat().st_mtime_ns == kept


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_leaves_no_half_song(tmp_path, workers):
    out = tmp_path / "songs"
    write_dataset(out, 2, 1, seed=0, workers=1)
    shutil.rmtree(out / "train" / "song-0001")
    (out / "train" / "song-0001").write_text("in the way")
    shutil.rmtree(out / "test" / "song-0002")
    with pytest.raises(DataError) as error:
        write_dataset(out, 2, 1, seed=0, workers=workers)
    assert str(error.value).startswith(f"{out / 'train' / 'song-0001'} cannot be written (")
    assert str(error.value).endswith("): make room for it there, then run again")
    assert [path.name for path in (out / "train").iterdir()] == ["song-0001"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 2}, "seconds 1.5 where 2.0 is asked for"),
        ({"tracks": 5}, "tracks 4 where 5 is asked for"),
        ({"seed": 9}, "seed 3 where 9 is asked for"),
        ({"test_tracks": 2}, "test_tracks 1 where 2 is asked for"),
        ({"stabs": 0.5}, "stabs 0.0 where 0.5 is asked for"),
    ],
)
def test_another_data_set_in_the_same_place_is_refused(dataset, change, message):
    before = digest(dataset)
    arguments = {"tracks": 4, "seconds": 1.5, "seed": 3, **change}
    with pytest.raises(DataError) as error:
        write_dataset(dataset, **arguments, workers=1)
    assert str(error.value).startswith(f"{dataset} holds other synthetic songs, ")
    assert message in str(error.value)
    assert str(error.value).endswith("choose another folder, ask for what it holds, or delete it")
    assert digest(dataset) == before


def test_a_data_set_of_another_generator_is_refused(copy):
    manifest = json.loads((copy / "synthetic.json").read_text())
    (copy / "synthetic.json").write_text(json.dumps({**manifest, "generator": 0}))
    with pytest.raises(DataError, match="generator 0 where 1 is asked for"):
        write_dataset(copy, 4, 1.5, 3)


def test_a_folder_older_than_a_setting_has_its_default(copy):
    manifest = json.loads((copy / "synthetic.json").read_text())
    del manifest["stabs"]
    (copy / "synthetic.json").write_text(json.dumps(manifest))
    write_dataset(copy, 4, 1.5, 3)
    with pytest.raises(DataError, match=r"stabs 0\.0 where 0\.5 is asked for"):
        write_dataset(copy, 4, 1.5, 3, stabs=0.5)
    del manifest["generator"]
    (copy / "synthetic.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="generator None where 1 is asked for"):
        write_dataset(copy, 4, 1.5, 3)


def test_a_broken_manifest_is_refused(copy):
    (copy / "synthetic.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON: choose another folder, or delete"):
        write_dataset(copy, 4, 1.5, 3)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError) as error:
        write_dataset(tmp_path, 1, 1, 0)
    assert str(error.value) == (
        f"{tmp_path} holds files that are no synthetic songs (there is no synthetic.json): choose an empty folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "songs").write_text("mine")
    with pytest.raises(DataError, match=r"songs cannot take synthetic songs \(.+\): choose a folder that you can"):
        write_dataset(tmp_path / "songs", 1, 1, 0)


def test_a_full_disk_is_noticed_first(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError) as error:
        write_dataset(tmp_path / "deep" / "songs", 10, 60, 0)
    assert "needs 0.54 GB for its songs and has 0.00 GB free: ask for fewer or shorter songs" in str(error.value)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracks": 0}, "0 synthetic songs were asked for; ask for tracks >= 1"),
        ({"seconds": 0.2}, "a song of 0.2 s cannot be made; give at least 1 s"),
        ({"seed": -2}, "the seed is -2; give 0 or more"),
        ({"workers": 0}, "0 workers were asked for; give workers >= 1, or leave it out to use every processor"),
        ({"band": -1}, "band -1 is negative; give 0 or more"),
        ({"stabs": 1.5}, "stabs is 1.5; give the share of the songs that have them, 0 to 1"),
        ({"test_tracks": 3}, "3 of 3 synthetic songs cannot be for testing; give 0 to 2 test tracks"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_made(tmp_path, change, message):
    with pytest.raises(DataError) as error:
        write_dataset(tmp_path / "songs", **{"tracks": 3, "seconds": 1, "seed": 0, **change})
    assert str(error.value) == message
    assert not (tmp_path / "songs").exists()


@pytest.mark.parametrize(
    ("tracks", "test_tracks", "expected"),
    [
        (1, None, (1, 0, 0)),
        (2, None, (1, 0, 1)),
        (3, None, (1, 1, 1)),
        (10, None, (8, 1, 1)),
        (100, None, (80, 10, 10)),
        (5, 0, (4, 1, 0)),
        (5, 4, (1, 0, 4)),
    ],
)
def test_splits(tracks, test_tracks, expected):
    recipe = make_recipe(tracks, 1, 0, test_tracks)
    splits = [recipe.split(index) for index in range(tracks)]
    assert tuple(splits.count(split) for split in ("train", "valid", "test")) == expected
