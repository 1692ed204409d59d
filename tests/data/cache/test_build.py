from __future__ import annotations

import os
import shutil
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.conftest import mixing
from tests.small import STEMS, write_songs
from tfswa_unet.data import EpochSampler, SegmentDataset, StemPlan, ValidationTracks, load_tracks
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.cache import build as building
from tfswa_unet.data.cache.pcm import is_whole
from tfswa_unet.errors import AudioError, ConfigError, DataError

PLAN = StemPlan.from_config({"vocals": "vocals", "others": "rest"})


@pytest.fixture
def songs(tmp_path):
    return write_songs(tmp_path / "songs", samples=3_000)


def files(cache):
    return sorted(cache.folder.glob("*.tfpcm"))


def build(folder, songs, rate=44_100, channels=2, **options):
    cache = PcmCache(folder, rate, channels)
    tracks = load_tracks("auto", songs, "train", probe=cache.probe)
    return cache, cache.build(tracks, workers=1, **options)


def test_every_stem_becomes_one_file_and_reads_the_same(tmp_path, songs):
    cache, cached = build(tmp_path / "c", songs)
    assert (cached.stems, cached.made, len(files(cache))) == (8, 8, 8)
    assert cached.bytes == sum(path.stat().st_size for path in files(cache))
    original = load_tracks("auto", songs, "train")
    assert [track.name for track in cached.tracks] == [track.name for track in original]
    settings = PLAN, 0.02, 44_100, 2, 0, 12, mixing("random", 0.5, mix_audio=0.3)
    ours, theirs = SegmentDataset(cached.tracks, *settings), SegmentDataset(original, *settings)
    for item in range(30):
        torch.testing.assert_close(ours[item], theirs[item], rtol=0, atol=0)
    ours, theirs = (ValidationTracks(tracks, PLAN, 0.02, 44_100, 2) for tracks in (cached.tracks, original))
    assert len(ours) == len(theirs)
    assert all(torch.equal(ours[k], theirs[k]) for k in range(len(ours)))


def test_examples_do_not_depend_on_workers_or_on_what_was_read_before(tmp_path, songs):
    data = SegmentDataset(build(tmp_path / "c", songs)[1].tracks, PLAN, 0.02, 44_100, 2, 0, 6, mixing())
    epochs = []
    for workers in (0, 2):
        sampler = EpochSampler(6)
        loader = DataLoader(data, 2, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        batches = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            batches += list(loader)
        epochs.append(torch.cat(batches))
    assert torch.equal(*epochs)
    assert torch.equal(epochs[0][7], data[7])


def test_nothing_is_opened_or_made_twice(tmp_path, songs, monkeypatch):
    cache, first = build(tmp_path / "c", songs)
    before = {path: path.stat().st_mtime_ns for path in files(cache)}

    def refuse(*args):
        raise AssertionError(f"{args} opened again")

    # Its own name in the package is that of a function.
    monkeypatch.setattr(sys.modules["tfswa_unet.audio.read"], "open_decoder", refuse)
    with pytest.raises(AssertionError, match="opened again"):
        load_tracks("auto", songs, "train")
    cache, again = build(tmp_path / "c", songs)
    assert (again.made, again.stems) == (0, 8)
    assert again.tracks == first.tracks
    assert {path: path.stat().st_mtime_ns for path in files(cache)} == before


def test_songs_are_known_by_their_content(tmp_path, songs):
    build(tmp_path / "c", songs)
    moved = shutil.move(songs, tmp_path / "elsewhere")
    assert build(tmp_path / "c", moved)[1].made == 0
    vocals = moved / "train" / "b" / "vocals.wav"
    state = vocals.stat()
    vocals.write_bytes(vocals.read_bytes()[:-1] + b"\7")
    os.utime(vocals, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    cache, cached = build(tmp_path / "c", moved)
    assert (cached.made, len(files(cache))) == (1, 9)
    shutil.copytree(moved / "train" / "b", moved / "train" / "the same")
    cache, cached = build(tmp_path / "c", moved)
    assert (cached.made, cached.stems, len(cached.tracks)) == (0, 8, 3)


def test_rate_and_channels_have_files_of_their_own(tmp_path, songs):
    build(tmp_path / "c", songs)
    cache, cached = build(tmp_path / "c", songs, 16_000, 1)
    assert (cached.made, len(files(cache))) == (8, 16)
    track = cached.tracks[0]
    assert (track.rate, track.length) == (16_000, -(-3_000 * 16_000 // 44_100))
    example = SegmentDataset(cached.tracks, PLAN, 0.02, 16_000, 1, 0, 1_000, mixing())[0]
    assert example.shape == (2, 1, 320)
    assert build(tmp_path / "c", songs)[1].made == 0


def test_a_cached_track_serves_a_model_of_another_rate_too(tmp_path, songs):
    cached = build(tmp_path / "c", songs)[1].tracks
    ours, theirs = (
        ValidationTracks(tracks, PLAN, 0.05, 16_000, 2)[0] for tracks in (cached, load_tracks("auto", songs, "train"))
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_files_are_made_again(tmp_path, songs, damage):
    cache = build(tmp_path / "c", songs)[0]
    broken = files(cache)[3]
    data = bytearray(broken.read_bytes())
    data[-7] ^= 1
    broken.write_bytes(data[:-1] if damage == "cut" else data)
    if damage == "flipped":
        assert build(tmp_path / "c", songs)[1].made == 0
    assert build(tmp_path / "c", songs, verify=True)[1].made == 1
    assert all(is_whole(path) for path in files(cache))


def test_a_failure_keeps_what_is_done_and_the_next_build_goes_on(tmp_path, songs, monkeypatch):
    original, calls = building.write_stem, []

    def failing(stem):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(stem)
        original(stem)

    monkeypatch.setattr(building, "write_stem", failing)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "c", songs)
    monkeypatch.setattr(building, "write_stem", original)
    phases = []
    _, cached = build(tmp_path / "c", songs, on_progress=lambda *told: phases.append(told))
    assert cached.made == 5
    assert phases == [("decoding", done, 5) for done in range(1, 6)]


def test_what_dead_processes_left_is_cleared_and_what_living_ones_write_is_not(tmp_path, songs):
    (tmp_path / "c").mkdir()
    dead, living = tmp_path / "c" / ".aa-1.tfpcm", tmp_path / "c" / ".bb-2.tfpcm"
    dead.touch()
    living.touch()
    os.utime(dead, (0, 0))
    build(tmp_path / "c", songs)
    assert (dead.exists(), living.exists()) == (False, True)


def test_a_small_disk_is_refused_before_anything_is_decoded(tmp_path, songs, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    needed = 8 * (4_096 + 4 * 3_000)
    enough = int(needed * 1.02 + 2 * needed / 8) + 1
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, enough - 2))
    with pytest.raises(DataError, match=r"needs 0\.00 GB more for 8 stems .* 0\.00 GB free: .*data\.cache=null"):
        build(tmp_path / "c", songs)
    assert list((tmp_path / "c").glob("*.tfpcm")) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, enough))
    assert build(tmp_path / "c", songs)[1].made == 8
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, 0))
    assert build(tmp_path / "c", songs)[1].made == 0


def test_the_cache_does_not_outgrow_its_limit(tmp_path, songs):
    needed = 8 * (4_096 + 4 * 3_000)
    with pytest.raises(ConfigError, match=r"for 8 stems and holds 0\.00 GB, over the 0\.0001 GB that it may .* allow"):
        build(tmp_path / "c", songs, max_gb=0.0001)
    assert build(tmp_path / "c", songs, max_gb=needed / 1e9)[1].made == 8
    with pytest.raises(ConfigError, match=r"\(--max-gb, or data\.cache_max_gb\)"):
        build(tmp_path / "c", songs, 16_000, max_gb=needed / 1e9)
    for limit in (0, "50", float("nan")):
        with pytest.raises(ConfigError, match=f"a cache of {limit} GB was asked for .*: expected more than 0, or none"):
            build(tmp_path / "c", songs, max_gb=limit)


def test_impossible_requests_are_refused(tmp_path, songs, make_track):
    with pytest.raises(ConfigError, match="0 workers were asked for"):
        PcmCache(tmp_path / "c", 8_000, 2).build([], workers=0)
    with pytest.raises(ConfigError, match="0 Hz with 2 channels"):
        PcmCache(tmp_path / "c", 0, 2)
    six = make_track("x", {"a": np.zeros((6, 100), np.float32)})
    with pytest.raises(DataError, match="stem 'a' of track 'x' has 6 channels, expected 1 or 2"):
        PcmCache(tmp_path / "c", 8_000, 2).build([six])
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file cannot be used \(.*\): choose a folder that you can write to"):
        PcmCache(tmp_path / "file", 8_000, 2).build([make_track("y", {"a": np.zeros((1, 100), np.float32)})])


def test_stems_of_one_content_share_a_file(tmp_path, make_track):
    track = make_track("x", dict.fromkeys(STEMS, np.zeros((2, 100), np.float32)))
    first, *others = (source.path for source in track.sources.values())
    for path in others:  # the header of a float wav holds the second in which it was written
        path.write_bytes(first.read_bytes())
    cached = PcmCache(tmp_path / "c", 8_000, 2).build([track], workers=1)
    assert (cached.stems, cached.made) == (1, 1)  # four silent stems are one content
    assert set(cached.tracks[0].sources) == set(STEMS)


def test_what_cannot_be_decoded_is_refused_or_left_out(tmp_path, songs, caplog, make_track):
    nan = make_track("nan", {"a": np.full((2, 100), np.nan, np.float32)})
    six = make_track("six", {"a": np.zeros((6, 100), np.float32)})
    good = make_track("good", {"a": np.ones((2, 100), np.float32)})
    cache = PcmCache(tmp_path / "c", 8_000, 2)
    with pytest.raises(AudioError, match="NaN"):
        cache.build([nan, good], workers=1)
    cached = cache.build([nan, six, good], workers=1, on_error="skip")
    assert [track.name for track in cached.tracks] == ["good"]
    assert [message.split(":")[0] for message in caplog.messages] == ["track 'six'", "track 'nan'"]
    assert all("it is left out (data.on_error=skip)" in message for message in caplog.messages)
    with pytest.raises(DataError, match="None of the 2 tracks can be cached"):
        cache.build([nan, six], workers=1, on_error="skip")
    with pytest.raises(ConfigError, match="on_error"):
        cache.build([good], on_error="ignore")


def test_what_another_process_made_meanwhile_is_not_made_again(tmp_path, songs, monkeypatch):
    original, made = building.write_stem, []
    monkeypatch.setattr(building, "write_stem", lambda stem: made.append(stem.path) or original(stem))

    def meanwhile(phase, done, total):
        if (phase, done) == ("decoding", 1) and len(made) == 1:
            build(tmp_path / "c", songs)

    build(tmp_path / "c", songs, on_progress=meanwhile)
    assert len(made) == len(set(made)) == 8


def test_a_cache_that_was_built_is_looked_up_by_another_process(tmp_path, songs):
    _, cached = build(tmp_path / "c", songs)
    tracks = load_tracks("auto", songs, "train")
    assert PcmCache(tmp_path / "c", 44_100, 2).lookup(tracks) == cached.tracks
    assert PcmCache(tmp_path / "elsewhere", 44_100, 2).lookup(tracks) == []
    cached.tracks[0].sources["bass"].path.unlink()
    assert PcmCache(tmp_path / "c", 44_100, 2).lookup(tracks) == cached.tracks[1:]
