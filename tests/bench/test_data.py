import multiprocessing
import sys
from itertools import count

import numpy as np
import pytest
import torch

from tests.small import write_songs
from tfswa_unet import audio
from tfswa_unet.bench import data, layouts
from tfswa_unet.bench.settings import DataSetting
from tfswa_unet.config import choice
from tfswa_unet.data import load_tracks, reading
from tfswa_unet.data.augmentation import AUGMENTATIONS
from tfswa_unet.errors import ConfigError, DataError

STEMS = ("vocals", "drums", "bass", "other")
PACKET = 1024  # samples, of AAC
SAMPLES = 2 + 2  # of the warm-up, and counted


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Songs of 2 s for every reader."""
    return layouts.made_songs(tmp_path_factory.mktemp("songs"), 2.0, layouts.MADE)


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of functions: calls(module, name) gives a list that grows by their arguments."""

    def watch(module, name):
        made, real = [], getattr(module, name)

        def counted(*args, **kwargs):
            made.append(args)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)
        return made

    return watch


def _measured(monkeypatch, **options):
    monkeypatch.setattr(data, "SHORTEST", 0.0)
    return data.measure(DataSetting(**{"seconds": 0.2, "batch": 1, "samples": 2, "workers": 0, **options}))


def test_every_reader_is_measured_beside_musdbs_own(monkeypatch, calls, songs):
    import musdb

    monkeypatch.setattr(data, "made_songs", lambda _folder, seconds, readers: {each: songs[each] for each in readers})
    theirs = calls(musdb.audio_classes.stempeg, "read_stems")
    record = _measured(monkeypatch)
    assert [(row["reader"], row["augmentation"]) for row in record["rows"]] == [
        ("musdb", "none"),
        ("musdb_wav", "none"),
        ("stem_mp4", "none"),
        ("wav", "none"),
        ("flac", "none"),
        ("cached", "none"),
        ("cached", "default"),
    ]
    assert len(theirs) == 2 * SAMPLES * len(STEMS)
    speeds = [row["samples_per_second"] for row in record["rows"]]
    assert min(speeds) > 0
    assert [row["ratio_to_musdb"] for row in record["rows"]] == pytest.approx([speed / speeds[0] for speed in speeds])
    assert [cost["augmentation"] for cost in record["augmentations"]] == list(choice("augmentation", "strong"))
    assert {cost["augmentation"] for cost in record["augmentations"] if cost["in_workers"]} == {
        name for name, kind in AUGMENTATIONS.items() if kind.in_workers
    }
    assert all(cost["milliseconds"] > 0 for cost in record["augmentations"])
    assert record["settings"]["readers"] == layouts.MADE
    assert record["settings"]["threads"] == torch.get_num_threads()


def test_the_cache_is_what_is_read(monkeypatch, calls, tmp_path):
    root = write_songs(tmp_path / "songs")
    crops, sources = calls(reading, "read_into"), calls(reading, "read_source")
    options = {"data": str(root), "cache": str(tmp_path / "cache"), "augmentation": "strong"}
    record = _measured(monkeypatch, readers=("cached",), **options)
    assert [(row["reader"], row["augmentation"], row["ratio_to_musdb"]) for row in record["rows"]] == [
        ("cached", "strong", None)
    ]
    assert len(crops) == SAMPLES * len(STEMS)
    assert not sources
    assert {path.parent for path, *_ in crops} == {tmp_path / "cache"}
    _measured(monkeypatch, readers=("wav",), **options)
    assert len(sources) == SAMPLES * len(STEMS)


def test_a_data_set_has_the_readers_of_its_kind(monkeypatch, songs):
    assert tuple(layouts.own_songs(str(songs["stem_mp4"].root), "auto")) == ("musdb", "stem_mp4", "cached")
    assert tuple(layouts.own_songs(str(songs["wav"].root), "auto")) == ("musdb_wav", "wav", "cached")
    assert tuple(layouts.own_songs(str(songs["wav"].root), "folders")) == ("files", "cached")
    record = _measured(monkeypatch, data=str(songs["flac"].root), workers=1)
    assert [row["reader"] for row in record["rows"]] == ["files", "cached", "cached"]
    assert record["settings"]["workers"] == 1
    assert not multiprocessing.active_children()


def test_the_songs_are_the_same_in_every_layout(songs):
    tracks = {reader: load_tracks(songs[reader].kind, songs[reader].root) for reader in ("wav", "flac", "stem_mp4")}
    for reader in ("flac", "stem_mp4"):
        for ours, wav in zip(tracks[reader], tracks["wav"], strict=True):
            assert (ours.name, ours.split, ours.length) == (wav.name, wav.split, wav.length)
            for stem in STEMS:
                found = audio.read(ours.sources[stem].path, stream=ours.sources[stem].stream)
                wanted = audio.read(wav.sources[stem].path)
                error = np.square(found - wanted).sum() / max(np.square(wanted).sum(), 1e-9)
                assert error == 0 if reader == "flac" else error < 0.05, (reader, stem)
    assert [track.split for track in tracks["wav"]] == ["train"] * 4 + ["valid"]


@pytest.mark.parametrize("reader", ["musdb", "musdb_wav"])
def test_musdb_gives_the_stems_in_our_order(songs, reader):
    place = songs[reader]
    whole = layouts.MusdbSegments(place.root, reader == "musdb_wav", 2.5, 44_100, 8)[3]
    tracks = load_tracks(place.kind, place.root, "train")
    track = tracks[np.random.default_rng(3).integers(len(tracks))]
    for found, stem in zip(whole, STEMS, strict=True):
        wanted = audio.read(track.sources[stem].path, stream=track.sources[stem].stream)
        np.testing.assert_allclose(found[:, : wanted.shape[1]], wanted, atol=1e-4)
        assert not found[:, wanted.shape[1] + PACKET :].any()  # musdb keeps the padding of the last packet


def test_musdb_draws_other_places_each_time(songs):
    segments = layouts.MusdbSegments(songs["musdb_wav"].root, True, 0.2, 44_100, 8)
    first, second = segments[0], segments[1]
    assert first.shape == (4, 2, 8_820)
    assert torch.equal(first, segments[0])
    assert not torch.equal(first, second)


def test_the_warm_up_is_not_counted(monkeypatch):
    seconds = count()  # the clock stands while nothing is read
    now = [0.0]
    monkeypatch.setattr(data.time, "perf_counter", lambda: now[0])

    class Loader:
        num_workers = 3

        def __iter__(self):
            while True:
                now[0] += 100.0 if next(seconds) < 6 else 0.25
                yield torch.zeros(4, 1)

    assert data.samples_per_second(Loader(), lambda batch: batch, samples=30) == pytest.approx(4 / 0.25)
    assert next(seconds) == 6 + 9  # batches: of 3 workers, two each for the warm-up, then three each


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seconds": 0.0}, ConfigError, "--seconds 0: expected a number above 0"),
        ({"batch": -1}, ConfigError, "--batch -1: expected a number above 0"),
        ({"samples": 0}, ConfigError, "--samples 0: expected a number above 0"),
        ({"threads": 0}, ConfigError, "--threads 0: expected a number above 0"),
        ({"workers": -1}, ConfigError, "--workers -1: expected 0"),
        ({"kind": "folders"}, ConfigError, "--kind folders says nothing without --data"),
        ({"readers": ("musdb_wv",)}, ConfigError, "unknown reader 'musdb_wv' .did you mean musdb_wav.*one of musdb, "),
        ({"augmentation": "wild"}, ConfigError, "unknown augmentation 'wild'"),
        ({"data": "/nowhere"}, DataError, "/nowhere does not exist"),
        ({"data": "/nowhere", "kind": "folder"}, ConfigError, "unknown data.kind 'folder'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_songs_are_made(monkeypatch, options, error, message):
    monkeypatch.setattr(data, "made_songs", lambda *_: pytest.fail("work has begun"))
    with pytest.raises(error, match=message):
        data.measure(DataSetting(**options))


def test_readers_of_another_layout_are_refused(songs):
    with pytest.raises(ConfigError, match=r"unknown reader of .* 'flac'.*expected one of musdb_wav, wav, cached"):
        data.measure(DataSetting(data=str(songs["wav"].root), readers=("flac",)))


def test_without_musdb_or_ffmpeg_it_says_what_to_leave_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"ffmpeg.*not on the PATH.*without musdb and stem_mp4"):
        layouts.made_songs(tmp_path, 2.0, ("stem_mp4",))
    assert not list(tmp_path.iterdir())
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho no aac here >&2\nexit 1\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    with pytest.raises(ConfigError, match=r"ffmpeg could not make .*song-0001.stem.mp4 \(no aac here\): make room"):
        layouts.made_songs(tmp_path, 2.0, ("stem_mp4",))
    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(
        ConfigError, match=r"musdb cannot be imported \(.*\): install it and ffmpeg, or choose --readers"
    ):
        data.measure(DataSetting(readers=("musdb",)))
