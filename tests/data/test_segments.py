from __future__ import annotations

import gc
import os
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from tests.data.conftest import mixing
from tfswa_unet.data import EpochSampler, SegmentDataset, StemPlan, ValidationTracks
from tfswa_unet.data.augmentation import build_augmentation
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.cache.pcm import OPEN_FILES, close_files
from tfswa_unet.data.segments import REDRAWS, loader
from tfswa_unet.data.tempo_key import Key, TempoKey
from tfswa_unet.errors import ConfigError

PLAN = StemPlan.from_config({"vocals": "vocals", "bass": "bass"})
RATE = 8_000


@pytest.fixture
def tracks(make_track):
    """Three songs whose samples tell where they come from: track + stem / 10 on the left, place / 1000 on the right."""

    def stem(track: int, number: int, length: int) -> np.ndarray:
        return np.stack([np.full(length, track + 1 + number / 10), np.arange(length) / 1_000]).astype(np.float32)

    return [
        make_track(f"song {i}", {name: stem(i, k, length) for k, name in enumerate(("bass", "drums", "vocals"))})
        for i, length in enumerate((900, 1_200, 1_500))
    ]


SETTINGS = {"seconds": 0.05, "rate": RATE, "channels": 2, "seed": 0, "length": 12, "mixing": mixing()}


def dataset(tracks, **settings) -> SegmentDataset:
    return SegmentDataset(tracks, PLAN, **(SETTINGS | settings))


def test_an_item_is_the_targets_and_the_remainder_of_one_place(tracks):
    data = dataset(tracks)
    assert data.names == ("vocals", "bass", "_rest")
    assert data.targets == 2
    for item in data:
        assert item.shape == (3, 2, 400)
        assert item.dtype == torch.float32
        track = int(item[0, 0, 0]) - 1
        expected = torch.tensor([0.2, 0.0, 0.1]) + track + 1
        torch.testing.assert_close(item[:, 0], expected[:, None].expand(3, 400))
        torch.testing.assert_close(item[:, 1], item[:1, 1].expand(3, 400))
        torch.testing.assert_close(item[0, 1].diff(), torch.full((399,), 1e-3), atol=1e-6, rtol=0)


def test_the_sum_over_an_item_is_the_songs_mixture(tracks):
    item = dataset(tracks)[0]
    torch.testing.assert_close(item.sum(0)[1], 3 * item[0, 1])


def test_random_mixing_takes_other_songs_and_places(tracks):
    items = torch.stack(list(dataset(tracks, mixing=mixing("random"))))
    songs = items[:, :, 0, 0].int()
    assert all(len(set(row.tolist())) == 3 for row in songs)
    assert (items[:, 0, 1, 0] != items[:, 1, 1, 0]).any()


def test_mix_audio_adds_a_second_segment_of_the_same_stem(tracks):
    plain, summed = dataset(tracks), dataset(tracks, mixing=mixing(mix_audio=1.0))
    for before, after in zip(plain, summed, strict=True):
        added = (after - before)[:, 0, 0]
        torch.testing.assert_close((added * 10).round() % 10, torch.tensor([2.0, 0.0, 1.0]))
        assert (added >= 0.99).all()


def test_epochs_and_seeds_differ_and_the_same_ones_agree(tracks):
    first, again, other = dataset(tracks), dataset(tracks), dataset(tracks, seed=1)
    assert torch.equal(torch.stack(list(first)), torch.stack(list(again)))
    assert not torch.equal(first[0], first[12])
    assert not torch.equal(torch.stack(list(first)), torch.stack(list(other)))


def test_item_numbers_beyond_an_epoch_belong_to_later_ones(tracks):
    short, long = dataset(tracks, length=12), dataset(tracks, length=13)
    assert torch.equal(short[5], long[5])
    assert torch.equal(short[12 * 3 + 5], long[13 * 3 + 5])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_bytes_in_every_epoch(tracks, workers):
    data = dataset(tracks, mixing=mixing("random", p=0.5, mix_audio=0.3))
    sampler = EpochSampler(len(data))
    alone = DataLoader(data, batch_size=5, sampler=sampler)
    shared = DataLoader(data, batch_size=5, sampler=sampler, num_workers=workers, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        epochs.append(torch.cat(list(alone)))
        assert torch.equal(epochs[-1], torch.cat(list(shared)))
    assert not torch.equal(*epochs)


AUGMENTATION = {
    "gain": {"p": 0.7, "low": 0.7, "high": 1.3},
    "channel_swap": {"p": 0.5},
    "pitch": {"p": 0.3, "semitones": 2, "together": True},
}


@pytest.mark.parametrize("workers", [0, 1, 8])
def test_batches_hold_the_examples_whatever_the_workers_and_wherever_an_epoch_begins(tracks, workers):
    data = dataset(
        tracks,
        mixing=mixing("matched", p=0.7, mix_audio=0.3, redraw=0.5, silence_db=-3),
        tempo_keys=[TempoKey(100, Key(0, False)), TempoKey(50, None), TempoKey(130, Key(7, False))],
        augmentation=build_augmentation(AUGMENTATION, rate=RATE),
    )
    expected = torch.stack([data[item] for item in range(24)])
    sampler = EpochSampler(len(data))
    batches = loader(data, 5, workers, sampler)
    assert torch.equal(torch.cat(list(batches)), expected[:12])
    sampler.set_epoch(1)
    sampler.skip = 5
    assert torch.equal(torch.cat(list(batches)), expected[17:])


def test_a_worker_that_is_not_forked_gives_the_same(tracks):
    data = dataset(tracks, augmentation=build_augmentation({"gain": {"p": 1.0, "low": 0.7, "high": 1.3}}, rate=RATE))
    batches = loader(data, 6, 1, EpochSampler(12))
    batches.multiprocessing_context = "spawn"
    assert torch.equal(torch.cat(list(batches)), torch.stack(list(data)))


def test_each_example_is_augmented_by_itself(tracks):
    plain = dataset(tracks)
    gained = dataset(tracks, augmentation=build_augmentation({"gain": {"p": 1.0, "low": 0.7, "high": 1.3}}, rate=RATE))
    ratios = torch.stack([(b / a)[:, 0] for a, b in zip(plain, gained, strict=True)])
    torch.testing.assert_close(ratios, ratios[..., :1].expand_as(ratios))
    assert len(ratios[..., 0].unique()) == ratios[..., 0].numel()


@pytest.fixture
def half_silent(make_track, tmp_path):
    """Songs of which every stem sounds in one half, at −40 dB; crops lie in one half or touch both."""
    rng = np.random.default_rng(0)

    def stem():
        audio = 0.01 * rng.choice([-1, 1], (2, 4_000)).astype(np.float32)
        first = int(rng.integers(2)) * 2_000
        audio[:, first : first + 2_000] = 0
        return audio

    songs = [make_track(f"song {k}", {"vocals": stem(), "bass": stem()}) for k in range(6)]
    # From a cache, because thousands of crops are read.
    return PcmCache(tmp_path / "cache", RATE, 2).build(songs, workers=1).tracks


@pytest.mark.parametrize("redraw", [0.0, 0.5, 0.8, 1.0])
def test_silent_stems_become_as_rare_as_their_chances_say(half_silent, redraw):
    data = dataset(half_silent, seconds=0.0125, length=1_500, mixing=mixing("random", redraw=redraw))
    silent = torch.stack([(item.square().mean((1, 2)) < 1e-6) for item in data]).float().mean().item()
    # One crop is silent where it lies wholly in the silent half, or at most a hundredth of it in the other; it stays
    # so if it is not drawn again, or if what is drawn is.
    once = (2_000 - 100 + 1 + 1) / (4_000 - 100 + 1)
    expected = once
    for _ in range(REDRAWS):
        expected = once * (1 - redraw + redraw * expected)
    assert silent == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 3_000) ** 0.5 + 1e-3)


def test_the_level_decides_and_whole_songs_keep_their_rests(half_silent):
    def examples(**settings):
        return torch.stack(
            list(dataset(half_silent, seconds=0.0125, length=200, mixing=mixing(redraw=1.0, **settings)))
        )

    songs = examples(mode="song")
    assert torch.equal(songs, torch.stack(list(dataset(half_silent, seconds=0.0125, length=200))))
    assert (songs == 0).all(-1).any()
    # Below −30 dB is everything: nothing better is found, and the last draw is as good as the first.
    silent = [(examples(mode="random", silence_db=level) == 0).all(-1).float().mean() for level in (-60.0, -30.0)]
    assert silent[0] < 0.1 < 0.4 < silent[1] < 0.6


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_does_not_grow_with_epochs(make_track, tmp_path, workers):
    noise = 0.1 * np.random.default_rng(0).standard_normal((80, 2, 600)).astype(np.float32)
    tracks = [make_track(f"song {k}", {"vocals": noise[k], "bass": noise[-k]}) for k in range(40)]
    cached = PcmCache(tmp_path / "cache", RATE, 2).build(tracks, workers=1).tracks
    data = dataset(cached, length=40, mixing=mixing("random", p=0.5, mix_audio=0.2, redraw=0.5))
    sampler = EpochSampler(40)
    batches = loader(data, 4, workers, sampler)

    def epoch(number):
        sampler.set_epoch(number)
        iterator = iter(batches)
        for _ in iterator:
            pass
        gc.collect()
        return iterator

    if workers:
        pid = epoch(0)._workers[0].pid
        epoch(1)
        before = open_files(pid), resident(pid)
        for number in range(2, 12):
            epoch(number)
        assert open_files(pid) <= before[0] + OPEN_FILES
        assert resident(pid) < before[1] + 2**22
        return
    close_files()
    descriptors = open_files("self")
    tracemalloc.start()
    for number in range(3):
        epoch(number)
    held, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
    for number in range(3, 12):
        epoch(number)
    grown = tracemalloc.get_traced_memory()[0] - held
    tracemalloc.stop()
    # An example takes 9,600 bytes, and 360 were drawn meanwhile from all 80 files.
    assert grown < 9_600
    assert len(gc.get_objects()) < objects + 100
    assert open_files("self") <= descriptors + OPEN_FILES
    close_files()


def open_files(pid) -> int:
    return len(os.listdir(f"/proc/{pid}/fd")) if os.path.isdir("/proc/self/fd") else 0


def resident(pid) -> int:
    """Bytes in memory that are the process's alone or shared with others."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_tracks_of_another_rate_and_mono_fit_in(make_track):
    t = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * t, dtype=np.float32)[None]
    data = dataset([make_track("x", {"vocals": tone, "bass": 0 * tone}, 16_000)], seconds=0.1, length=4)
    for item in data:
        assert item.shape == (2, 2, 800)
        assert torch.equal(item[0, 0], item[0, 1])
        spectrum = torch.fft.rfft(item[0, 0] * torch.hann_window(800)).abs()
        assert spectrum.argmax().item() * RATE / 800 == 440


def test_short_tracks_end_in_zeros(make_track):
    ones = np.ones((2, 50), np.float32)
    data = dataset([make_track("x", {"vocals": ones, "bass": ones})], seconds=0.01, length=2)
    assert data[0].shape == (2, 2, 80)
    assert (data[0][..., :50] == 1).all()
    assert (data[0][..., 50:] == 0).all()


def test_validation_gives_whole_tracks(tracks):
    data = ValidationTracks(tracks, PLAN, seconds=None, rate=RATE, channels=2)
    assert data.names == ("vocals", "bass", "_rest")
    assert [data[k].shape for k in range(len(data))] == [(3, 2, 900), (3, 2, 1_200), (3, 2, 1_500)]
    torch.testing.assert_close(data[2][0, 1], torch.arange(1_500) / 1_000)


def test_validation_can_take_the_middle_of_tracks(tracks):
    data = ValidationTracks(tracks, PLAN, seconds=0.125, rate=RATE, channels=2)
    assert [data[k].shape[-1] for k in range(3)] == [900, 1_000, 1_000]
    torch.testing.assert_close(data[2][0, 1], torch.arange(250, 1_250) / 1_000)


def test_the_sampler_deals_every_example_to_one_process():
    parts = []
    for rank in range(3):
        sampler = EpochSampler(12, rank, 3)
        sampler.set_epoch(2)
        parts.append(list(sampler))
        assert len(sampler) == 4
    assert sorted(item for part in parts for item in part) == list(range(24, 36))
    assert [len(list(EpochSampler(11, rank, 3))) for rank in range(3)] == [3, 3, 3]


def test_impossible_lengths_are_refused(tracks):
    with pytest.raises(ConfigError, match=r"data\.seconds is 0, expected more than 0"):
        dataset(tracks, seconds=0)
    with pytest.raises(ConfigError, match=r"data\.samples_per_epoch is 0"):
        dataset(tracks, length=0)
    with pytest.raises(ConfigError, match="at least one for each of 4 devices"):
        EpochSampler(3, 0, 4)
    with pytest.raises(ConfigError, match=r"data\.validation_seconds is 0, expected more than 0, or null"):
        ValidationTracks(tracks, PLAN, seconds=0, rate=RATE, channels=2)


class Counts:
    """Examples that are full of their numbers."""

    shape = (2, 1, 1_000)
    faulty = None

    def __len__(self):
        return 23

    def __getitem__(self, item):
        example = torch.empty(self.shape)
        self.fill(example, item)
        return example

    def fill(self, example, item):
        if item == self.faulty:
            raise ValueError(f"no example {item}")
        example[:] = item + torch.arange(2)[:, None, None] / 10


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_a_plain_loader_and_stay_what_they_are(workers):
    data = Counts()
    expected = list(DataLoader(data, 4))
    ours = loader(data, 4, workers, SequentialSampler(data))
    # All are kept, while their workers go on writing to the memory that they came through.
    for _ in range(3):
        batches = list(ours)
        assert [batch.shape for batch in batches] == [(4, *data.shape)] * 5 + [(3, *data.shape)]
        assert all(torch.equal(a, b) for a, b in zip(batches, expected, strict=True))
    assert len(loader(data, 4, workers, SequentialSampler(data), drop_last=True)) == 5


def test_two_iterations_at_once_and_broken_off_ones_do_not_mix():
    data = Counts()
    ours = loader(data, 4, 2, SequentialSampler(data))
    expected = list(DataLoader(data, 4))
    for _ in range(3):
        next(iter(ours))
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    other = loader(data, 4, 2, SequentialSampler(data))
    for a, b, c in zip(ours, other, expected, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, c)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_in_an_example_is_told(workers):
    data = Counts()
    data.faulty = 9
    batches = iter(loader(data, 4, workers, SequentialSampler(data)))
    assert [next(batches)[0, 0, 0, 0].item() for _ in range(2)] == [0, 4]
    with pytest.raises(ValueError, match="no example 9"):
        next(batches)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="reads what is mapped as Linux shows it")
def test_a_worker_shares_no_more_memory_than_is_on_its_way():
    data = Counts()
    ours = loader(data, 4, 1, SequentialSampler(data))

    def shared(batches):
        pid = batches._workers[0].pid
        with open(f"/proc/{pid}/maps") as maps:
            return sum(f"/torch_{pid}_" in line for line in maps)

    counts = []
    for _ in range(4):
        batches = iter(ours)
        list(batches)
        counts.append(shared(batches))
    # Two batches ahead and the one being written.
    assert 1 <= max(counts) <= 2 + 1
