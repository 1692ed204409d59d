from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, ValidationSegments
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


def dataset(tracks, **settings) -> SegmentDataset:
    return SegmentDataset(tracks, PLAN, **{"seconds": 0.05, "rate": RATE, "length": 12, **settings})


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
    items = torch.stack(list(dataset(tracks, mixing=Mixing("random"))))
    songs = items[:, :, 0, 0].int()
    assert all(len(set(row.tolist())) == 3 for row in songs)
    assert (items[:, 0, 1, 0] != items[:, 1, 1, 0]).any()


def test_mix_audio_adds_a_second_segment_of_the_same_stem(tracks):
    plain, summed = dataset(tracks), dataset(tracks, mixing=Mixing(mix_audio=1.0))
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
    data = dataset(tracks, mixing=Mixing("random", p=0.5, mix_audio=0.3))
    sampler = EpochSampler(len(data))
    alone = DataLoader(data, batch_size=5, sampler=sampler)
    shared = DataLoader(data, batch_size=5, sampler=sampler, num_workers=workers, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        epochs.append(torch.cat(list(alone)))
        assert torch.equal(epochs[-1], torch.cat(list(shared)))
    assert not torch.equal(*epochs)


def test_tracks_of_another_rate_and_mono_fit_in(make_track):
    t = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * t, dtype=np.float32)[None]
    data = SegmentDataset(
        [make_track("x", {"vocals": tone, "bass": 0 * tone}, 16_000)], PLAN, seconds=0.1, rate=RATE, length=4
    )
    for item in data:
        assert item.shape == (2, 2, 800)
        assert torch.equal(item[0, 0], item[0, 1])
        spectrum = torch.fft.rfft(item[0, 0] * torch.hann_window(800)).abs()
        assert spectrum.argmax().item() * RATE / 800 == 440


def test_short_tracks_end_in_zeros(make_track):
    data = SegmentDataset(
        [make_track("x", {"vocals": np.ones((2, 50), np.float32), "bass": np.ones((2, 50), np.float32)})],
        PLAN,
        seconds=0.01,
        rate=RATE,
        length=2,
    )
    assert data[0].shape == (2, 2, 80)
    assert (data[0][..., :50] == 1).all()
    assert (data[0][..., 50:] == 0).all()


def test_validation_walks_through_every_track(tracks):
    data = ValidationSegments(tracks, PLAN, seconds=0.05, rate=RATE)
    assert data.names == ("vocals", "bass", "_rest")
    assert data.places == [(k, s) for k, length in enumerate((900, 1_200, 1_500)) for s in range(0, length, 400)]
    last_song = torch.cat([data[i] for i in range(6, 10)], -1)
    torch.testing.assert_close(last_song[0, 1, :1_500], torch.arange(1_500) / 1_000)
    torch.testing.assert_close(last_song[:, 0, 0], torch.tensor([3.2, 3.0, 3.1]))
    assert (last_song[..., 1_500:] == 0).all()


def test_validation_can_take_a_few_evenly_spread_segments(tracks):
    data = ValidationSegments(tracks[2:], PLAN, seconds=0.0125, rate=RATE, per_track=3)
    assert data.places == [(0, 200), (0, 700), (0, 1_200)]
    assert len(ValidationSegments(tracks, PLAN, seconds=1, rate=RATE, per_track=3)) == 3


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
    with pytest.raises(ConfigError, match="segments per validation track are 0"):
        ValidationSegments(tracks, PLAN, seconds=1, per_track=0)
